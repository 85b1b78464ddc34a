package consent

import "github.com/redis/go-redis/v9"

// appendScript adds entries to logs of one subject, each once.
//
//	KEYS[1]  the subject's hash
//	ARGV[1]  the controller's id
//	then per entry: field, id (8 octets), framed entry
//
// Returns how many entries were new. An error where the subject belongs to
// another controller.
var appendScript = redis.NewScript(`
local key = KEYS[1]
local had = redis.call('HGET', key, 'k')
if had and had ~= ARGV[1] then
  return redis.error_reply('WRONGCONTROLLER the subject belongs to another controller')
end
if not had then redis.call('HSET', key, 'k', ARGV[1]) end
local added = 0
for i = 2, #ARGV, 3 do
  local field, id = ARGV[i], ARGV[i + 1]
  local log = redis.call('HGET', key, field)
  if not log then log = '' end
  local at, found = 1, false
  while at <= #log do
    local n, skip = string.byte(log, at), 1
    if n >= 128 then
      n, skip = (n - 128) * 256 + string.byte(log, at + 1), 2
    end
    if string.sub(log, at + skip, at + skip + 7) == id then
      found = true
      break
    end
    at = at + skip + n
  end
  if not found then
    redis.call('HSET', key, field, log .. ARGV[i + 2])
    added = added + 1
  end
end
return added
`)

// dropScript removes fields that still hold what the caller saw, after it
// stored their content elsewhere or decided on their end.
//
//	KEYS[1]  the subject's hash
//	ARGV[1]  a field to set, "" for none; ARGV[2] its value
//	then per field: name, value seen
//
// Returns how many fields were removed.
var dropScript = redis.NewScript(`
local dropped = 0
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
    dropped = dropped + 1
  end
end
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return dropped
`)

// swapScript replaces one field's value where it still is what the caller saw.
//
//	KEYS[1]  the subject's hash
//	ARGV     field, value seen, new value ("" removes the field)
//
// Returns 1 where it did.
var swapScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
`)

// markScript raises a node's marker, unless Redis shows less than it is known
// to have shown: then it has forgotten something, and a marker set now would
// hide that.
//
//	KEYS[1]  the nodes' markers
//	ARGV     node, marker that has to be there at least, new marker
//
// Returns 1 where the marker is there now.
var markScript = redis.NewScript(`
local had = redis.call('HGET', KEYS[1], ARGV[1])
local at = tonumber(had or '0')
if at < tonumber(ARGV[2]) then return 0 end
if not had or at < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
`)
