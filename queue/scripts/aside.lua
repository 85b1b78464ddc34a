-- Keeps mails that became no case.
-- KEYS 1 seen, 2 aside, then the mail hash of each
-- ARGV of each mail: seen field of the UID, id, received ms, key, mail, why, controller
-- Returns how many are new.
local new = 0
for i = 1, #ARGV, 7 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then
    redis.call('HSET', KEYS[1], ARGV[i], 'aside:' .. ARGV[i + 1])
    redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i + 1])
    redis.call('HSET', KEYS[2 + (i + 6) / 7], 'key', ARGV[i + 3], 'mail', ARGV[i + 4], 'why', ARGV[i + 5], 'received', ARGV[i + 2], 'controller', ARGV[i + 6])
    new = new + 1
  end
end
return new
