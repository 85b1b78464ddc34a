-- Notes in cases that nobody changed since they were opened what their mails
-- bound, and has the rest of their work done.
-- KEYS 1 work, 2 touched, 3 tick, then 2 of each case: case hash, log
-- ARGV of each case: number, then two lists, each led by its length: fields (name, value), events
-- Returns {"ok"|"again"} of each, in one row; "again": others changed it, nothing is noted
local at, key, touched, out = 0, 3, {}, {}
local function list()
  local from = at + 2
  at = at + 1 + tonumber(ARGV[at + 1])
  return from, at
end
while at < #ARGV do
  at = at + 1
  local no = ARGV[at]
  local fields, fieldsEnd = list()
  local events, eventsEnd = list()
  out[#out + 1] = 'ok'
  if fieldsEnd >= fields then
    if redis.call('HGET', KEYS[key + 1], 'v') == '1' then
      redis.call('HSET', KEYS[key + 1], 'v', 2, unpack(ARGV, fields, fieldsEnd))
      if eventsEnd >= events then redis.call('RPUSH', KEYS[key + 2], unpack(ARGV, events, eventsEnd)) end
      touched[#touched + 1] = no
    else
      out[#out] = 'again'
    end
  end
  key = key + 2
  redis.call('XADD', KEYS[1], '*', 'case', no, 'do', 'mail', 'n', '0', 'try', '0')
end
if #touched > 0 then
  local tick, ticks = redis.call('INCRBY', KEYS[3], #touched) - #touched, {}
  for i, no in ipairs(touched) do
    ticks[2 * i - 1] = tick + i
    ticks[2 * i] = no
  end
  redis.call('ZADD', KEYS[2], unpack(ticks))
end
return out
