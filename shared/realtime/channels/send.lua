-- Numbers a message of a channel, keeps it, and publishes it.
--
-- KEYS  the channel's hash; the record of the request_id
-- ARGV  an epoch for a channel that has none; the priority; how many messages to keep, and for how long (ms);
--       life of the hash (ms); '1' if the request_id is to be remembered; the frame in two parts, before and after
--       what is known only here
-- Returns {epoch, offset, time in ms, 1 if it is a repeat}
--
-- A missing hash starts a new epoch, and nothing of an older one is left: the streams hold offsets of their epoch only.

local META, RECORD = KEYS[1], KEYS[2]
local EPOCH, PRIORITY, KEEP, KEEP_MS, META_MS = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local REMEMBER, HEAD, TAIL = ARGV[6] == '1', ARGV[7], ARGV[8]

if REMEMBER then
  local before = redis.call('GET', RECORD)
  if before then
    local epoch, offset, ms = before:match('^(%x+) (%d+) (%d+)$')
    return { epoch, tonumber(offset), tonumber(ms), 1 }
  end
end

local time = redis.call('TIME')
local NOW_MS = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = redis.call('HGET', META, 'epoch')
if not epoch then
  epoch = EPOCH
  redis.call('DEL', META, META .. ':high', META .. ':medium', META .. ':low')
  redis.call('HSET', META, 'epoch', epoch)
end
local offset = redis.call('HINCRBY', META, 'seq', 1)
redis.call('PEXPIRE', META, META_MS)

local number = string.format('%.0f', offset)
local prev = string.format('%.0f', offset - 1)
local frame = HEAD .. ',"offset":' .. number .. ',"prev":' .. prev .. ',"id":"' .. epoch .. '-' .. number .. '"' .. TAIL

local stream = META .. ':' .. PRIORITY
redis.call('XADD', stream, 'MAXLEN', '=', KEEP, number .. '-0', 't', string.format('%.0f', NOW_MS), 'f', frame)
while true do
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not oldest or NOW_MS - tonumber(oldest[2][2]) <= KEEP_MS then
    break
  end
  redis.call('XDEL', stream, oldest[1])
end
redis.call('PEXPIRE', stream, KEEP_MS)

if REMEMBER then
  redis.call('SET', RECORD, epoch .. ' ' .. number .. ' ' .. string.format('%.0f', NOW_MS), 'PX', KEEP_MS)
end
redis.call('PUBLISH', META, epoch .. ' ' .. prev .. ' ' .. number .. '\n' .. frame .. '\n')
return { epoch, offset, NOW_MS, 0 }
