-- Writes D after the provider accepted the message (or nothing had to be sent), regardless of the stored record.
--
-- KEYS  one record per message
-- ARGV  life of a record in ms; then for each key: token, the new record
-- Returns one answer per key: 1 if this token held the claim, 0 if it did not, or the error of this message.

local TTL_MS = ARGV[1]

local answers = {}
for i, key in ipairs(KEYS) do
  local mine, record = 'P:' .. ARGV[2 * i] .. ':', ARGV[2 * i + 1]
  local stored = redis.pcall('GET', key)
  -- If the same D is stored already, the call is a repeat, because the first answer was lost on its way.
  local ours = type(stored) == 'string' and (stored:sub(1, #mine) == mine or stored == record)
  local written = redis.pcall('SET', key, record, 'PX', TTL_MS)
  answers[i] = written.err and written or (ours and 1 or 0)
end
return answers
