-- Records that one of a message's several targets has been served; a retry sends to the others only.
--
-- KEYS  one hash per message
-- ARGV  life of the hash in ms; then for each key: the target's digest
-- Returns one answer per key: 1, or the error of this message.

local TTL_MS = ARGV[1]

local answers = {}
for i, key in ipairs(KEYS) do
  local written = redis.pcall('HSET', key, ARGV[i + 1], '1')
  if type(written) == 'table' then
    answers[i] = written
  else
    redis.pcall('PEXPIRE', key, TTL_MS)
    answers[i] = 1
  end
end
return answers
