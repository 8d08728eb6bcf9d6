-- Gatepost's shared memory of events, script version 1.
--
-- One call does the work of all uploads that wait: a list of operations on open claims and pages.
-- KEYS[1] is the key of the generation; ARGV[1] the generation that the caller knows. If it is another
-- one, nothing is done: the engine has forgotten, and the caller must know that before it goes on.
-- Operations take their keys and arguments from the front of what is left of KEYS and ARGV.
--
--   C  claim ids of a stream      KEYS: open claims, pages…  ARGV: me lease durable pages ranges
--   K  confirm them               KEYS: open claims, pages…  ARGV: me ttl pages segments…
--   c  claim hashes               KEYS: open claims, holders, slices…  ARGV: me lease durable slices hashes
--   k  confirm them               KEYS: open claims, holders, slice    ARGV: me ttl owner hashes
--   R  release ids                KEYS: open claims          ARGV: me
--   r  release hashes             KEYS: open claims, holders ARGV: me hashes
--
-- An open claim is a field `gateway.claim` with: its end in milliseconds (13 digits), 1 or 0 for durable, and
-- its ranges of ids, 16 hex digits for each bound.
local generation = redis.call('GET', KEYS[1])
if generation ~= ARGV[1] then
  return {0, generation or ''}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local k, a = 2, 2
local out = {1}

-- Claims that nobody's conflict has ended go at last: their gateway is gone.
local FORGOTTEN = 600000
local KEPT = 3600000
local AT_ONCE = 4000

local function gateway_of(claim)
  return string.match(claim, '^[^.]*')
end

local function ends(claim)
  return tonumber(string.sub(claim, 1, 13))
end

local function overlap(mine, theirs)
  for i = 1, #mine, 32 do
    local first, last = string.sub(mine, i, i + 15), string.sub(mine, i + 16, i + 31)
    for j = 15, #theirs, 32 do
      if first <= string.sub(theirs, j + 16, j + 31) and string.sub(theirs, j, j + 15) <= last then
        return true
      end
    end
  end
  return false
end

-- Whether a claim gives way: its lease has ended, or is longer than any lease, as the clock of another
-- server made it; or it holds nothing durable and the other one does.
local LEASE_MAX = 65000

local function yields(claim, durable)
  return ends(claim) <= now or ends(claim) > now + LEASE_MAX or (durable == '1' and string.sub(claim, 14, 14) == '0')
end

local function open(claims, me, lease, durable, ranges)
  redis.call('HSET', claims, me, string.format('%013d', now + lease) .. durable .. ranges)
  redis.call('PEXPIRE', claims, KEPT)
end

local function split(hashes)
  local fields = {}
  for i = 1, #hashes, 16 do
    fields[#fields + 1] = string.sub(hashes, i, i + 15)
  end
  return fields
end

local function each_part(fields, work)
  for i = 1, #fields, AT_ONCE do
    work(i, math.min(i + AT_ONCE - 1, #fields))
  end
end

local function read_all(key, fields, found)
  each_part(fields, function(i, j)
    local values = redis.call('HMGET', key, unpack(fields, i, j))
    for n = 1, j - i + 1 do
      if values[n] then
        found[i + n - 1] = values[n]
      end
    end
  end)
end

local function set_all(key, fields, value)
  each_part(fields, function(i, j)
    local pairs = {}
    for n = i, j do
      pairs[#pairs + 1] = fields[n]
      pairs[#pairs + 1] = value
    end
    for n = 1, #pairs, AT_ONCE do
      redis.call('HSET', key, unpack(pairs, n, math.min(n + AT_ONCE - 1, #pairs)))
    end
  end)
end

local function remove_all(key, fields)
  each_part(fields, function(i, j)
    redis.call('HDEL', key, unpack(fields, i, j))
  end)
end

local function claim_ids()
  local me, lease, durable = ARGV[a + 1], tonumber(ARGV[a + 2]), ARGV[a + 3]
  local pages, ranges = tonumber(ARGV[a + 4]), ARGV[a + 5]
  local claims, mine, left, gone = KEYS[k], gateway_of(me), -1, {}
  local all = redis.call('HGETALL', claims)
  for i = 1, #all, 2 do
    local other, claim = all[i], all[i + 1]
    if gateway_of(other) ~= mine and overlap(ranges, claim) then
      if yields(claim, durable) then
        gone[#gone + 1] = other
      else
        left = math.max(left, ends(claim) - now)
      end
    elseif ends(claim) + FORGOTTEN < now then
      gone[#gone + 1] = other
    end
  end
  if #gone > 0 then
    remove_all(claims, gone)
  end
  local answer = {left}
  if left < 0 then
    open(claims, me, lease, durable, ranges)
    for n = 1, pages do
      answer[n + 1] = redis.call('GET', KEYS[k + n]) or ''
    end
  end
  k, a = k + 1 + pages, a + 6
  return answer
end

local function confirm_ids()
  local me, ttl, pages = ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3])
  -- Removed first: at the engine's limit of memory what is under way may still end, since this needs none.
  local stood = redis.call('HDEL', KEYS[k], me)
  if stood == 1 then
    for n = 1, pages do
      redis.call('APPEND', KEYS[k + n], ARGV[a + 3 + n])
      redis.call('EXPIRE', KEYS[k + n], ttl)
    end
  end
  k, a = k + 1 + pages, a + 4 + pages
  return stood
end

local function claim_hashes()
  local me, lease, durable = ARGV[a + 1], tonumber(ARGV[a + 2]), ARGV[a + 3]
  local slices, fields = tonumber(ARGV[a + 4]), split(ARGV[a + 5])
  local claims, holders, mine, left = KEYS[k], KEYS[k + 1], gateway_of(me), -1
  local owners, held, seen = {}, {}, {}
  for n = 1, slices do
    read_all(KEYS[k + 1 + n], fields, owners)
  end
  read_all(holders, fields, held)
  for i = 1, #fields do
    local other = held[i]
    if other and not owners[i] and not seen[other] and gateway_of(other) ~= mine then
      seen[other] = true
      local claim = redis.call('HGET', claims, other)
      if claim and yields(claim, durable) then
        redis.call('HDEL', claims, other)
      elseif claim then
        left = math.max(left, ends(claim) - now)
      end
    end
  end
  local answer = {left}
  if left < 0 then
    local free = {}
    for i = 1, #fields do
      if not owners[i] then
        free[#free + 1] = fields[i]
        owners[i] = string.rep('\0', 6)
      end
    end
    open(claims, me, lease, durable, '')
    if #free > 0 then
      set_all(holders, free, me)
      redis.call('PEXPIRE', holders, KEPT)
    end
    answer[2] = table.concat(owners)
  end
  k, a = k + 2 + slices, a + 6
  return answer
end

local function confirm_hashes()
  local me, ttl, owner, fields = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], split(ARGV[a + 4])
  local stood = redis.call('HDEL', KEYS[k], me)
  if stood == 1 then
    remove_all(KEYS[k + 1], fields)
    set_all(KEYS[k + 2], fields, owner)
    redis.call('EXPIRE', KEYS[k + 2], ttl)
  end
  k, a = k + 3, a + 5
  return stood
end

local function release_ids()
  redis.call('HDEL', KEYS[k], ARGV[a + 1])
  k, a = k + 1, a + 2
  return 1
end

local function release_hashes()
  local me, fields, held, mine = ARGV[a + 1], split(ARGV[a + 2]), {}, {}
  redis.call('HDEL', KEYS[k], me)
  read_all(KEYS[k + 1], fields, held)
  for i = 1, #fields do
    if held[i] == me then
      mine[#mine + 1] = fields[i]
    end
  end
  if #mine > 0 then
    remove_all(KEYS[k + 1], mine)
  end
  k, a = k + 2, a + 3
  return 1
end

local operations = {
  C = claim_ids, K = confirm_ids, c = claim_hashes, k = confirm_hashes, R = release_ids, r = release_hashes
}
while a <= #ARGV do
  out[#out + 1] = operations[ARGV[a]]()
end
return out
