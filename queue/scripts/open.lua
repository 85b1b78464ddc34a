-- Opens cases one after another, or says where each mail already is.
-- KEYS 1 seen, 2 mid, 3 all, 4 due, 5 remind, 6 work, 7 touched, 8 tick,
--   then 4 of each case: case hash, mails, log, person set
-- ARGV of each case: number, sealed mail, received, due, "1" if there is a person, newmid (or ""),
--   then four lists, each led by its length: seen, mids, events, reminders (score, member), and fields (name, value)
-- Returns {"new"|"dup"|"attach"|"taken", number} of each, in one row
local at, key, out = 0, 8, {}
local function take()
  at = at + 1
  return ARGV[at]
end
local function list()
  local from = at + 2
  at = at + 1 + tonumber(ARGV[at + 1])
  return from, at
end
local function open()
  local no, mail, received, due, person, newmid = take(), take(), take(), take(), take(), take()
  local seen, seenEnd = list()
  local mids, midsEnd = list()
  local events, eventsEnd = list()
  local remind, remindEnd = list()
  local fields, fieldsEnd = list()
  local case, mails, log, owner = KEYS[key + 1], KEYS[key + 2], KEYS[key + 3], KEYS[key + 4]
  key = key + 4
  for i = seen, seenEnd do
    local n = redis.call('HGET', KEYS[1], ARGV[i])
    if n then
      redis.call('HSET', KEYS[1], ARGV[seen], n)
      return 'dup', n
    end
  end
  for i = mids, midsEnd do
    local n = redis.call('HGET', KEYS[2], ARGV[i])
    if n then return 'attach', n end
  end
  if redis.call('EXISTS', case) == 1 then return 'taken', '' end
  redis.call('HSET', case, 'v', 1, unpack(ARGV, fields, fieldsEnd))
  redis.call('RPUSH', mails, mail)
  for i = events, eventsEnd do
    local n = redis.call('RPUSH', log, ARGV[i])
    redis.call('XADD', KEYS[6], '*', 'case', no, 'do', 'trail', 'n', tostring(n - 1), 'try', '0')
  end
  for i = seen, seenEnd do redis.call('HSET', KEYS[1], ARGV[i], no) end
  if newmid ~= '' then redis.call('HSETNX', KEYS[2], newmid, no) end
  redis.call('ZADD', KEYS[3], received, no)
  redis.call('ZADD', KEYS[4], due, no)
  redis.call('ZADD', KEYS[7], redis.call('INCR', KEYS[8]), no)
  if remindEnd >= remind then redis.call('ZADD', KEYS[5], unpack(ARGV, remind, remindEnd)) end
  if person == '1' then redis.call('SADD', owner, no) end
  redis.call('XADD', KEYS[6], '*', 'case', no, 'do', 'mail', 'n', '0', 'try', '0')
  return 'new', no
end
while at < #ARGV do
  out[#out + 1], out[#out + 2] = open()
end
return out
