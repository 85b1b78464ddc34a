-- Moves one dead letter back into the work stream, with its tries forgotten.
-- KEYS 1 dead, 2 work; ARGV 1 entry id. Returns 1, or 0 if it is gone.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local fields = found[1][2]
for i = 1, #fields, 2 do
  if fields[i] == 'job' then
    local j = cjson.decode(fields[i + 1])
    redis.call('XADD', KEYS[2], '*', 'case', j.case, 'do', j['do'], 'n', j.n, 'try', '0')
  end
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
