-- Changes a case in one step: fields, events, perhaps a further mail, clocks.
-- KEYS 1 case hash, 2 mails, 3 log, 4 seen, 5 mid, 6 due, 7 remind, 8 work, 9 letters, 10 later, 11 touched, 12 tick
-- ARGV 1 JSON: no, v (version read), once (field that must not be set, or ""),
--   seen[], newmid, mail (or ""), known[] (or none), rewrite (or none) and rewriteat (place of the mail), fields{}, events[], due (score, "" removes, "-" keeps),
--   unremind[], remind[[member,score]], letter (or ""), letterat (score), jobs[[do,n,score]]
-- Returns {"ok", index of mail or letter} | {"again",""} | {"once",""} | {"dup", number} | {"gone",""}
local a = cjson.decode(ARGV[1])
local v = redis.call('HGET', KEYS[1], 'v')
if not v then return {'gone', ''} end
for _, f in ipairs(a.seen) do
  local n = redis.call('HGET', KEYS[4], f)
  if n then
    redis.call('HSET', KEYS[4], a.seen[1], n)
    return {'dup', n}
  end
end
if a.once ~= '' and redis.call('HEXISTS', KEYS[1], a.once) == 1 then return {'once', ''} end
if v ~= a.v then return {'again', ''} end
local set = {'v', tonumber(v) + 1}
for k, x in pairs(a.fields) do
  set[#set + 1] = k
  set[#set + 1] = x
end
if a.once ~= '' then
  set[#set + 1] = a.once
  set[#set + 1] = '1'
end
redis.call('HSET', KEYS[1], unpack(set))
redis.call('ZADD', KEYS[11], redis.call('INCR', KEYS[12]), a.no)
local index = ''
if a.mail ~= '' then
  index = tostring(redis.call('RPUSH', KEYS[2], a.mail) - 1)
  for _, f in ipairs(a.seen) do redis.call('HSET', KEYS[4], f, a.no) end
  if a.newmid ~= '' then redis.call('HSETNX', KEYS[5], a.newmid, a.no) end
  redis.call('XADD', KEYS[8], '*', 'case', a.no, 'do', 'mail', 'n', index, 'try', '0')
end
if a.rewrite then redis.call('LSET', KEYS[2], a.rewriteat, a.rewrite) end
for _, f in ipairs(a.known or {}) do redis.call('HSETNX', KEYS[4], f, a.no) end
for _, e in ipairs(a.events) do
  local n = redis.call('RPUSH', KEYS[3], e)
  redis.call('XADD', KEYS[8], '*', 'case', a.no, 'do', 'trail', 'n', tostring(n - 1), 'try', '0')
end
if a.due == '' then
  redis.call('ZREM', KEYS[6], a.no)
elseif a.due ~= '-' then
  redis.call('ZADD', KEYS[6], a.due, a.no)
end
if a.letter ~= '' then
  index = tostring(redis.call('RPUSH', KEYS[9], a.letter) - 1)
  redis.call('HSET', KEYS[1], 'out:' .. index, 'waiting')
  redis.call('ZADD', KEYS[10], a.letterat, cjson.encode({case = a.no, ['do'] = 'send', n = index, try = '0'}))
end
for _, j in ipairs(a.jobs) do
  redis.call('ZADD', KEYS[10], j[3], cjson.encode({case = a.no, ['do'] = j[1], n = j[2], try = '0'}))
end
for _, m in ipairs(a.unremind) do redis.call('ZREM', KEYS[7], m) end
for _, r in ipairs(a.remind) do redis.call('ZADD', KEYS[7], r[2], r[1]) end
return {'ok', index}
