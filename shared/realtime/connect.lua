-- Registers connections of devices, and ends the oldest ones of a user who has too many.
--
-- KEYS  one hash of connections per call: connection -> "<node>:<since, ms>"
-- ARGV  this node, the most connections of a user, the life of a hash in s; then for each key: connection, and the time
--       since which it exists in ms, empty for a new one
-- Returns one answer per key: {number of connections, 1 if this one is evicted else 0, since}, or the error of its key.
--
-- A connection is there if the key of its node is: entries of dead nodes are removed. It reads the keys of nodes
-- besides KEYS, so it needs one Redis, not a Redis Cluster.

local NODE, LIMIT, LIFE_S = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local NOW_MS = time[1] * 1000 + math.floor(time[2] / 1000)

-- This node runs the script, so it is there, even if its heartbeat is late.
local alive = {[NODE] = true}
local function lives(node)
  if alive[node] == nil then
    alive[node] = redis.call('EXISTS', 'notify-node:' .. node) == 1
  end
  return alive[node]
end

-- The key of a node that was killed lives on for a while, but nobody hears the node's own channel any more.
local heard = {[NODE] = true}
local function hears(node)
  if heard[node] == nil then
    heard[node] = redis.call('PUBSUB', 'NUMSUB', 'notify-node:' .. node)[2] > 0
  end
  return heard[node]
end

local function older(one, other)
  if one.since ~= other.since then
    return one.since < other.since
  end
  return one.connection < other.connection
end

local function connect(key, connection, since)
  since = tonumber(since) or NOW_MS
  local all = {{connection = connection, node = NODE, since = since}}
  local stored = redis.call('HGETALL', key)
  for i = 1, #stored, 2 do
    local node, stored_since = stored[i + 1]:match('^(%x+):(%d+)$')
    if stored[i] == connection then
      -- It is registered again.
    elseif node and lives(node) then
      all[#all + 1] = {connection = stored[i], node = node, since = tonumber(stored_since)}
    else
      redis.call('HDEL', key, stored[i])
    end
  end
  redis.call('HSET', key, connection, NODE .. ':' .. string.format('%.0f', since))
  redis.call('EXPIRE', key, LIFE_S)
  table.sort(all, older)
  -- Those of a killed node make room first: its devices come back at once, and nobody may be evicted for that.
  local place = 1
  while #all > LIMIT and place <= #all do
    if hears(all[place].node) then
      place = place + 1
    else
      redis.call('HDEL', key, table.remove(all, place).connection)
    end
  end
  local evicted = 0
  while #all > LIMIT do
    local oldest = table.remove(all, 1)
    redis.call('HDEL', key, oldest.connection)
    if oldest.connection == connection then
      evicted = 1
    else
      redis.call('PUBLISH', 'notify-node:' .. oldest.node, 'kick ' .. oldest.connection)
    end
  end
  return {#all, evicted, since}
end

local answers = {}
for i, key in ipairs(KEYS) do
  local done, answer = pcall(connect, key, ARGV[2 + 2 * i], ARGV[3 + 2 * i])
  answers[i] = done and answer or redis.error_reply(type(answer) == 'table' and answer.err or tostring(answer))
end
return answers
