-- Moves due reminders and retries into the work stream.
-- KEYS 1 remind, 2 later, 3 work; ARGV 1 now ms, 2 at most how many of each
-- Returns how many were moved.
local n = 0
for _, m in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local at = string.find(m, ' ', 1, true)
  redis.call('ZREM', KEYS[1], m)
  redis.call('XADD', KEYS[3], '*', 'case', string.sub(m, 1, at - 1), 'do', 'remind', 'n', string.sub(m, at + 1), 'try', '0')
  n = n + 1
end
for _, m in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local j = cjson.decode(m)
  redis.call('ZREM', KEYS[2], m)
  redis.call('XADD', KEYS[3], '*', 'case', j.case, 'do', j['do'], 'n', j.n, 'try', j.try)
  n = n + 1
end
return n
