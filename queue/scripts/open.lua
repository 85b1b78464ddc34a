-- Opens cases one after another, or says where each mail already is.
-- KEYS 1 seen, 2 mid, 3 all, 4 due, 5 remind, 6 later, 7 touched, 8 tick,
--   then 4 of each case: case hash, mails, log, person set
-- ARGV 1 work that is left to do with the new cases, 2 when it is taken up if nobody took it back, ms; then of each case:
--   number, sealed mail, received, due, "1" if there is a person,
--   then four lists, each led by its length: seen, mids (the first is set), events, reminders (score, member), and fields (name, value)
-- Returns {"new"|"dup"|"attach"|"taken", number} of each, in one row
local at, cases, seen, mids = 2, {}, {}, {}
local function take()
  at = at + 1
  return ARGV[at]
end
local function list()
  local from = at + 2
  at = at + 1 + tonumber(ARGV[at + 1])
  return {from, at}
end
while at < #ARGV do
  local c = {no = take(), mail = take(), received = take(), due = take(), person = take()}
  c.seen, c.mids, c.events, c.remind, c.fields = list(), list(), list(), list(), list()
  for i = c.seen[1], c.seen[2] do seen[#seen + 1] = ARGV[i] end
  for i = c.mids[1], c.mids[2] do mids[#mids + 1] = ARGV[i] end
  cases[#cases + 1] = c
end
-- What was known before, by field; what this run adds is added to it.
local function known(key, fields)
  local out = {}
  if #fields > 0 then
    for i, v in ipairs(redis.call('HMGET', key, unpack(fields))) do out[fields[i]] = v end
  end
  return out
end
local inSeen, inMid = known(KEYS[1], seen), known(KEYS[2], mids)
local newSeen, newMid, all, due, remind, touched, out = {}, {}, {}, {}, {}, {}, {}
local function add(t, a, b)
  t[#t + 1] = a
  t[#t + 1] = b
end
local function open(c, key)
  local first = ARGV[c.seen[1]]
  for i = c.seen[1], c.seen[2] do
    local n = inSeen[ARGV[i]]
    if n then
      inSeen[first] = n
      add(newSeen, first, n)
      return 'dup', n
    end
  end
  for i = c.mids[1], c.mids[2] do
    local n = inMid[ARGV[i]]
    if n then return 'attach', n end
  end
  if redis.call('EXISTS', KEYS[key]) == 1 then return 'taken', '' end
  redis.call('HSET', KEYS[key], 'v', 1, unpack(ARGV, c.fields[1], c.fields[2]))
  redis.call('RPUSH', KEYS[key + 1], c.mail)
  redis.call('RPUSH', KEYS[key + 2], unpack(ARGV, c.events[1], c.events[2]))
  if c.person == '1' then redis.call('SADD', KEYS[key + 3], c.no) end
  for i = c.seen[1], c.seen[2] do
    inSeen[ARGV[i]] = c.no
    add(newSeen, ARGV[i], c.no)
  end
  if c.mids[2] >= c.mids[1] then
    inMid[ARGV[c.mids[1]]] = c.no
    add(newMid, ARGV[c.mids[1]], c.no)
  end
  add(all, c.received, c.no)
  add(due, c.due, c.no)
  for i = c.remind[1], c.remind[2] do remind[#remind + 1] = ARGV[i] end
  touched[#touched + 1] = c.no
  return 'new', c.no
end
for i, c in ipairs(cases) do add(out, open(c, 5 + 4 * i)) end
if #newSeen > 0 then redis.call('HSET', KEYS[1], unpack(newSeen)) end
if #newMid > 0 then redis.call('HSET', KEYS[2], unpack(newMid)) end
if #touched > 0 then
  redis.call('ZADD', KEYS[3], unpack(all))
  redis.call('ZADD', KEYS[4], unpack(due))
  if #remind > 0 then redis.call('ZADD', KEYS[5], unpack(remind)) end
  redis.call('ZADD', KEYS[6], ARGV[2], ARGV[1])
  local tick, ticks = redis.call('INCRBY', KEYS[8], #touched) - #touched, {}
  for i, no in ipairs(touched) do add(ticks, tick + i, no) end
  redis.call('ZADD', KEYS[7], unpack(ticks))
end
return out
