-- Decides whether a receipt may go out (AR-4) and counts it.
-- KEYS 1 quiet, 2 sender's day, 3 hour; ARGV 1 new case "1"/"0", 2 per day, 3 per hour, 4 quiet ms
-- Returns "ok", "quiet", "sender-day" or "hour".
if tonumber(redis.call('GET', KEYS[3]) or '0') >= tonumber(ARGV[3]) then return 'hour' end
if redis.call('EXISTS', KEYS[1]) == 1 then
  if ARGV[1] == '0' then return 'quiet' end
end
if tonumber(redis.call('GET', KEYS[2]) or '0') >= tonumber(ARGV[2]) then return 'sender-day' end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[4])
redis.call('INCR', KEYS[2])
redis.call('PEXPIRE', KEYS[2], 172800000)
redis.call('INCR', KEYS[3])
redis.call('PEXPIRE', KEYS[3], 7200000)
return 'ok'
