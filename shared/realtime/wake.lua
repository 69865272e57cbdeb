-- Publishes one wake-up per inbox: it is a hint, so nothing is stored, and it does not matter who hears it.
--
-- KEYS  the channels
-- ARGV  one wake-up per channel
-- Returns one answer per channel, the number of nodes that heard it; an error is the answer of its own channel only.

local answers = {}
for i, channel in ipairs(KEYS) do
  answers[i] = redis.pcall('PUBLISH', channel, ARGV[i])
end
return answers
