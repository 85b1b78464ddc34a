-- Opens a case in one step, or says where the mail already is.
-- KEYS 1 case hash, 2 mails, 3 log, 4 seen, 5 mid, 6 all, 7 due, 8 remind, 9 work, 10 person set, 11 touched, 12 tick
-- ARGV 1 JSON: no, seen[], mids[], newmid, fields{}, mail, events[], received, due, remind[[member,score]], person
-- Returns {"new"|"dup"|"attach"|"taken", number}
local a = cjson.decode(ARGV[1])
for _, f in ipairs(a.seen) do
  local n = redis.call('HGET', KEYS[4], f)
  if n then
    redis.call('HSET', KEYS[4], a.seen[1], n)
    return {'dup', n}
  end
end
for _, m in ipairs(a.mids) do
  local n = redis.call('HGET', KEYS[5], m)
  if n then return {'attach', n} end
end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'taken', ''} end
for k, v in pairs(a.fields) do redis.call('HSET', KEYS[1], k, v) end
redis.call('HSET', KEYS[1], 'v', 1)
redis.call('RPUSH', KEYS[2], a.mail)
for _, e in ipairs(a.events) do
  local n = redis.call('RPUSH', KEYS[3], e)
  redis.call('XADD', KEYS[9], '*', 'case', a.no, 'do', 'trail', 'n', tostring(n - 1), 'try', '0')
end
for _, f in ipairs(a.seen) do redis.call('HSET', KEYS[4], f, a.no) end
if a.newmid ~= '' then redis.call('HSETNX', KEYS[5], a.newmid, a.no) end
redis.call('ZADD', KEYS[6], a.received, a.no)
redis.call('ZADD', KEYS[7], a.due, a.no)
redis.call('ZADD', KEYS[11], redis.call('INCR', KEYS[12]), a.no)
for _, r in ipairs(a.remind) do redis.call('ZADD', KEYS[8], r[2], r[1]) end
if a.person ~= '' then redis.call('SADD', KEYS[10], a.no) end
redis.call('XADD', KEYS[9], '*', 'case', a.no, 'do', 'mail', 'n', '0', 'try', '0')
return {'new', a.no}
