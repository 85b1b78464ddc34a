-- Keeps a mail that became no case.
-- KEYS 1 seen, 2 aside, 3 mail hash; ARGV 1 seen field of the UID, 2 id, 3 received ms, 4 key, 5 mail, 6 why, 7 controller
-- Returns 1 if it is new.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], 'aside:' .. ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('HSET', KEYS[3], 'key', ARGV[4], 'mail', ARGV[5], 'why', ARGV[6], 'received', ARGV[3], 'controller', ARGV[7])
return 1
