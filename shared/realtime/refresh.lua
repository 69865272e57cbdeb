-- Decides whether a refresh token may be used, and takes it.
--
-- KEYS[1]: the family's record, a hash: number (of the newest token), replaced_ms (when it replaced the one before).
-- ARGV: the number of the token that is presented, the time during which a repeat is no theft (ms), the record's life
-- (seconds).
--
-- Answers the number of the token to give; -1 if the family is unknown; -2 if it was revoked before; -3 if it is
-- revoked now, because the token had been replaced.
--
-- Only a family of which no token was ever used has no record. So a first token is accepted without one, and a later
-- one is not: its record is lost, and nobody knows whether it was replaced.
local presented = tonumber(ARGV[1])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', KEYS[1], 'number', 'replaced_ms')
local newest = tonumber(record[1] or 0)

if not record[1] and presented > 0 then
  return -1
end
if newest < 0 then
  return -2
end
if presented == newest then
  redis.call('HSET', KEYS[1], 'number', newest + 1, 'replaced_ms', now_ms)
  redis.call('EXPIRE', KEYS[1], ARGV[3])
  return newest + 1
end
if presented == newest - 1 and now_ms - tonumber(record[2]) <= tonumber(ARGV[2]) then
  return newest
end
redis.call('HSET', KEYS[1], 'number', -1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return -3
