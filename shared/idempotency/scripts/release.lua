-- Releases the claim of a message that was not tried: this token's P becomes F with the same attempt and replay.
--
-- KEYS  one record per message
-- ARGV  life of a record in ms; then for each key: token
-- Returns one answer per key: 1 if this token held the claim, 0 if it did not, or the error of this message.

local TTL_MS = ARGV[1]

local answers = {}
for i, key in ipairs(KEYS) do
  local mine = 'P:' .. ARGV[i + 1] .. ':'
  local stored = redis.pcall('GET', key)
  local answer = 0
  if type(stored) == 'string' and stored:sub(1, #mine) == mine then
    local replay, attempt, hash = stored:match(':(%d+):(%d+):(%x+)$')
    local written = redis.pcall('SET', key, 'F:' .. attempt .. ':' .. replay .. ':' .. hash, 'PX', TTL_MS)
    answer = written.err and written or 1
  end
  answers[i] = answer
end
return answers
