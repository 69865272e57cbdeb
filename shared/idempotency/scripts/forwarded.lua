-- The message has been handed on, confirmed: F in the place of our P; anything else stays as it is.
--
-- KEYS  one record a message
-- ARGV  life of a record in ms; then for each key: token, "<attempt or end>:<replay>"
-- Answers, one a key: 1 if the claim was ours, 0 if it was not, or this message's own error.

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
    -- The very same F: this is repeated because the first answer was lost on its way.
    answer = 1
  end
  answers[i] = answer
end
return answers
