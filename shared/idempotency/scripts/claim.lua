-- Decides for each message whether this delivery may be sent now: writes a new or renewed P, or returns why not.
--
-- KEYS  one record per message
-- ARGV  lease in ms, life of a record in ms; then for each key: token, "<replay>:<attempt>:<hash>"
-- Returns one answer per key, {code, Redis' time in ms}; an error is the answer of its own message only. The codes:
--   0  yes: nothing was stored (or no valid record)
--   1  yes: this token held the claim already, or a stored F allows this copy
--   2  yes: takes over a claim whose lease had ended
--   3  reused: another body was sent under this id
--   4  duplicate: done
--   5  stale: a later copy has been forwarded or claimed
--  -n  held: another token's lease runs for n ms more

local LEASE_MS, TTL_MS = tonumber(ARGV[1]), ARGV[2]
local time = redis.call('TIME')
local NOW_MS = time[1] * 1000 + math.floor(time[2] / 1000)
local LEASE_END = string.format('%.0f', NOW_MS + LEASE_MS)

-- Orders copies by replay, then by attempt; "end" is above every attempt.
local function below(replay, attempt, other_replay, other_attempt)
  replay, other_replay = tonumber(replay), tonumber(other_replay)
  if replay ~= other_replay then
    return replay < other_replay
  end
  return other_attempt == 'end' or tonumber(attempt) < tonumber(other_attempt)
end

local function judge(stored, token, replay, attempt, hash)
  local lease_end, holder
  local n, life, body = stored:match('^F:(%w+):(%d+):(%x+)$')
  if not n then
    holder, lease_end, life, n, body = stored:match('^P:([^:]*):(%d+):(%d+):(%d+):(%x+)$')
  end
  body = body or stored:match('^D:(%x+):')
  if not body then
    return 0
  elseif body ~= hash then
    return 3
  elseif not n then
    return 4
  elseif holder == token then
    return 1
  elseif holder and tonumber(lease_end) > NOW_MS then
    return NOW_MS - tonumber(lease_end)
  elseif below(replay, attempt, life, n) then
    return 5
  end
  return holder and 2 or 1
end

local answers = {}
for i, key in ipairs(KEYS) do
  local token, copy = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local stored = redis.pcall('GET', key)
  local answer = 0
  if type(stored) == 'string' then
    answer = judge(stored, token, copy:match('^(%d+):(%d+):(%x+)$'))
  end
  answers[i] = { answer, NOW_MS }
  if answer >= 0 and answer <= 2 then
    local written = redis.pcall('SET', key, 'P:' .. token .. ':' .. LEASE_END .. ':' .. copy, 'PX', TTL_MS)
    if written.err then
      answers[i] = written
    end
  end
end
return answers
