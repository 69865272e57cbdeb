-- A graceful stop gives the message back untried: our P becomes F with its own attempt and replay.
--
-- KEYS  one record a message
-- ARGV  life of a record in ms; then for each key: token
-- Answers, one a key: 1 if the claim was ours, 0 if it was not, or this message's own error.

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
