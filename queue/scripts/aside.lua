-- Keeps mails that became no case.
-- KEYS 1 seen, 2 aside, then the mail hash of each
-- ARGV of each mail: seen field of the UID, id, received ms, key, mail, why, controller
-- Returns how many are new.
local fields, seen, aside = {}, {}, {}
for i = 1, #ARGV, 7 do fields[#fields + 1] = ARGV[i] end
local known = redis.call('HMGET', KEYS[1], unpack(fields))
local new = {}
for n, v in ipairs(known) do
  local i = 7 * n - 6
  if not v and not new[ARGV[i]] then
    new[ARGV[i]] = true
    seen[#seen + 1] = ARGV[i]
    seen[#seen + 1] = 'aside:' .. ARGV[i + 1]
    aside[#aside + 1] = ARGV[i + 2]
    aside[#aside + 1] = ARGV[i + 1]
    redis.call('HSET', KEYS[2 + n], 'key', ARGV[i + 3], 'mail', ARGV[i + 4], 'why', ARGV[i + 5], 'received', ARGV[i + 2], 'controller', ARGV[i + 6])
  end
end
if #seen > 0 then
  redis.call('HSET', KEYS[1], unpack(seen))
  redis.call('ZADD', KEYS[2], unpack(aside))
end
return #seen / 2
