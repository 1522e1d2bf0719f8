-- One token of the bucket at KEYS[1], with the fields and times that Traefik writes there.
-- ARGV: tokens per microsecond, tokens at most, seconds to keep the bucket at least,
-- microseconds that a request may wait. Returns whether it may pass, and its wait.
local key = KEYS[1]
local rate, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local shortest, longest = tonumber(ARGV[3]), tonumber(ARGV[4])

-- The clock of Redis: those of several proxies would not agree.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local kept = redis.call('HMGET', key, 'last', 'tokens')
local last, tokens = tonumber(kept[1]), tonumber(kept[2])
if last and tokens then
    tokens = math.min(most, tokens + math.max(0, now - last) * rate)
else
    tokens = most
end

local left = tokens - 1
local wait = 0
if left < 0 then
    wait = math.ceil(-left / rate)
end
local passes = wait <= longest
if passes then
    tokens = left
    redis.call('HSET', key, 'last', now, 'tokens', tokens)
end

-- A full bucket is as good as none. Ten years are as good as for ever.
local full = math.ceil((most - tokens) / rate / 1000000) + 1
redis.call('EXPIRE', key, math.min(math.max(shortest, full), 315360000))
return { passes and 1 or 0, wait }
