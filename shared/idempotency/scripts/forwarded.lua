-- Replaces this token's P by F after the message was forwarded and confirmed; leaves any other record as it is.
--
-- KEYS  one record per message
-- ARGV  life of a record in ms; then for each key: token, "<attempt or end>:<replay>"
-- Returns one answer per key: 1 if this token held the claim, 0 if it did not, or the error of this message.

local TTL_MS = ARGV[1]

local answers = {}
for i, key in ipairs(KEYS) do
  local mine, record = 'P:' .. ARGV[2 * i] .. ':', 'F:' .. ARGV[2 * i + 1] .. ':'
  local stored = redis.pcall('GET', key)
  local answer = 0
  if type(stored) ~= 'string' then
    answer = 0
  elseif stored:sub(1, #mine) == mine then
    local written = redis.pcall('SET', key, record .. stored:match('(%x+)$'), 'PX', TTL_MS)
    answer = written.err and written or 1
  elseif stored:sub(1, #record) == record then
    -- If the same F is stored already, the call is a repeat, because the first answer was lost on its way.
    answer = 1
  end
  answers[i] = answer
end
return answers
