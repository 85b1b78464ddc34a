-- Ends one piece of work: done, handed back, to be tried later, or given up.
-- KEYS 1 work, 2 later, 3 dead; ARGV 1 group, 2 entry id, 3 "done"|"back"|"later"|"dead", 4 job JSON, 5 time ms, 6 reason
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
local there = redis.call('XDEL', KEYS[1], ARGV[2])
if there == 0 then return 0 end
if ARGV[3] == 'later' then
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[4])
elseif ARGV[3] == 'back' then
  local j = cjson.decode(ARGV[4])
  redis.call('XADD', KEYS[1], '*', 'case', j.case, 'do', j['do'], 'n', j.n, 'try', j.try)
elseif ARGV[3] == 'dead' then
  redis.call('XADD', KEYS[3], '*', 'job', ARGV[4], 'at', ARGV[5], 'why', ARGV[6])
end
return 1
