-- The provider has said yes (or nothing was to be sent): D, whatever is stored.
--
-- KEYS  one record a message
-- ARGV  life of a record in ms; then for each key: token, the new record
-- Answers, one a key: 1 if the claim was ours, 0 if it was not, or this message's own error.

local TTL_MS = ARGV[1]

local answers = {}
for i, key in ipairs(KEYS) do
  local mine, record = 'P:' .. ARGV[2 * i] .. ':', ARGV[2 * i + 1]
  local stored = redis.pcall('GET', key)
  -- The very same D: this is repeated because the first answer was lost on its way.
  local ours = type(stored) == 'string' and (stored:sub(1, #mine) == mine or stored == record)
  local written = redis.pcall('SET', key, record, 'PX', TTL_MS)
  answers[i] = written.err and written or (ours and 1 or 0)
end
return answers
