-- Reads what a channel keeps above a position.
--
-- KEYS  the hash of each channel
-- ARGV  how long a message is kept (ms); then for each key: the epoch and the offset of the position, an epoch in case
--       that one must be made
-- Returns one answer per key: {epoch, offset, 1 if the position can be continued, frame, frame, ...}, in the order of
-- the offsets; an error is the answer of its own channel only.
--
-- A position can be continued if exactly as many messages came back as offsets lie between: a message that is too old,
-- was dropped or got lost with Redis shows as a missing number. An offset that this epoch has not reached yet says that
-- Redis was put back to an older state: then the channel gets a fresh epoch, or offsets would be given out twice.

local KEEP_MS = tonumber(ARGV[1])
local time = redis.call('TIME')
local NOW_MS = time[1] * 1000 + math.floor(time[2] / 1000)

local function read(meta, given_epoch, given_offset, fresh_epoch)
  local epoch, last = unpack(redis.call('HMGET', meta, 'epoch', 'seq'))
  if not epoch then
    return { '', 0, given_offset == 0 and 1 or 0 }
  end
  last = tonumber(last)
  if given_epoch == epoch and given_offset > last then
    epoch = fresh_epoch
    redis.call('HSET', meta, 'epoch', epoch)
    redis.call('PUBLISH', meta, epoch .. ' 0 ' .. string.format('%.0f', last) .. '\n')
  end
  local continues = (given_epoch == epoch or given_offset == 0) and given_offset <= last
  local above = continues and given_offset or 0
  local found = {}
  for _, priority in ipairs({ 'high', 'medium', 'low' }) do
    for _, entry in ipairs(redis.call('XRANGE', meta .. ':' .. priority, string.format('%.0f-1', above), '+')) do
      if NOW_MS - tonumber(entry[2][2]) <= KEEP_MS then
        found[#found + 1] = { tonumber(entry[1]:match('^%d+')), entry[2][4] }
      end
    end
  end
  if continues and #found ~= last - above then
    continues = false
    if above > 0 then
      return read(meta, '', 0, fresh_epoch)
    end
  end
  table.sort(found, function(one, other) return one[1] < other[1] end)
  local answer = { epoch, last, continues and 1 or 0 }
  for _, entry in ipairs(found) do
    answer[#answer + 1] = entry[2]
  end
  return answer
end

local answers = {}
for i, meta in ipairs(KEYS) do
  local ok, answer = pcall(read, meta, ARGV[3 * i - 1], tonumber(ARGV[3 * i]), ARGV[3 * i + 1])
  answers[i] = ok and answer or redis.error_reply(type(answer) == 'table' and answer.err or tostring(answer))
end
return answers
