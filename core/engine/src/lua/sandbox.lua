-- The sandbox, run once in each new state. `host` holds functions of the engine.
--
-- What can catch an error looks at the limits again, so that a stop cannot be caught; what looks into tables
-- behind their metatables fills tables that are filled on demand first; loops inside of C functions that
-- metamethods could make endless are done in Lua, where they are counted.
local host = ...

local error, next, type, tostring, select = error, next, type, tostring, select
local pcall, xpcall, load = pcall, xpcall, load
local getmetatable, setmetatable = getmetatable, setmetatable
local rawget, rawset, rawlen = rawget, rawset, rawlen
local collectgarbage = collectgarbage
local insert, remove, concat = table.insert, table.remove, table.concat
local move, sort = table.move, table.sort
local create, wrap = coroutine.create, coroutine.wrap
local resume, close = coroutine.resume, coroutine.close
local integer = math.tointeger
local check, check_coroutine, stopped = host.check, host.check_coroutine, host.stopped
local make_ordinary, seen_by_code = host.make_ordinary, host.seen_by_code
local on_demand, hidden = host.on_demand, host.hidden

dofile, loadfile, require, package, os, io, debug = nil, nil, nil, nil, nil, nil, nil
string.dump = nil

-- Errors ----------------------------------------------------------------------------------------------------

-- Errors of the engine's own functions reach the code as texts, as those of Lua's do.
local function checked(ok, e, ...)
  if not ok then
    check()
    return ok, seen_by_code(e)
  end
  return ok, e, ...
end

_G.pcall = function(f, ...) return checked(pcall(f, ...)) end

-- A handler runs before the stack is unwound, for a stop even inside of the hook, where no hook runs: a stop must
-- not reach it.
_G.xpcall = function(f, on_error, ...)
  if type(on_error) ~= "function" then error("bad argument #2 to 'xpcall' (function expected)", 2) end
  local function handler(e)
    if stopped() then return e end
    return on_error(seen_by_code(e))
  end
  return checked(xpcall(f, handler, ...))
end

function coroutine.create(f)
  check_coroutine()
  return create(f)
end

function coroutine.wrap(f)
  check_coroutine()
  return wrap(f)
end

function coroutine.resume(co, ...)
  if type(co) ~= "thread" then error("bad argument #1 to 'resume' (coroutine expected)", 2) end
  return checked(resume(co, ...))
end

function coroutine.close(co)
  if type(co) ~= "thread" then error("bad argument #1 to 'close' (coroutine expected)", 2) end
  return checked(close(co))
end

local function read_all(reader)
  local parts, n = {}, 0
  while true do
    local part = reader()
    if part == nil or part == "" then return concat(parts) end
    if type(part) ~= "string" then error("reader function must return a string", 0) end
    n = n + 1
    parts[n] = part
  end
end

_G.load = function(chunk, name, ...)
  if type(chunk) == "function" then
    local ok, text = checked(pcall(read_all, chunk))
    if not ok then return nil, text end
    chunk = text
    name = name or "=(load)"
  end
  if select("#", ...) < 2 then return load(chunk, name, "t") end
  return load(chunk, name, "t", (select(2, ...)))
end

-- Tables ----------------------------------------------------------------------------------------------------

local function ordinary(t)
  if type(t) == "table" and on_demand[getmetatable(t)] then make_ordinary(t) end
  return t
end

_G.next = function(t, ...) return next(ordinary(t), ...) end

_G.rawget = function(t, ...) return rawget(ordinary(t), ...) end

_G.rawlen = function(t, ...) return rawlen(ordinary(t), ...) end

-- A new global, or a new entry of a library, can keep the state of a node beyond its end.
local watch = {__newindex = function(t, k, v)
  host.mark_kept()
  rawset(t, k, v)
end}
hidden[watch] = true

-- Finalizers run without any hook, and so does a '__close' handler while a stop is raised in its function. So no
-- metatable has '__gc' or '__close': neither when it is set nor later. For the latter, tables that serve as
-- metatables have a metatable that looks at new keys; one of their own is served by a copy that does.
local guarded = setmetatable({}, {__mode = "k"})
local copied = setmetatable({}, {__mode = "k"})

local function refuse(key)
  error("'" .. key .. "' is not available in metatables", 3)
end

local guard = {__newindex = function(t, k, v)
  if k == "__close" or k == "__gc" then refuse(k) end
  rawset(t, k, v)
end}
hidden[guard] = true

local function copy_with_guard(metatable)
  local copy = {}
  for k, v in next, metatable do copy[k] = v end
  copy.__newindex = function(t, k, v)
    if k == "__close" or k == "__gc" then refuse(k) end
    local handler = rawget(metatable, "__newindex")
    if handler == nil then
      rawset(t, k, v)
    elseif type(handler) == "function" then
      handler(t, k, v)
    else
      handler[k] = v
    end
  end
  copied[copy] = metatable
  return copy
end

local function protect(metatable)
  if guarded[metatable] then return end
  for _, key in next, {"__gc", "__close"} do
    if rawget(metatable, key) ~= nil then refuse(key) end
  end
  local own = getmetatable(metatable)
  if own == watch then host.mark_kept() end
  if own == nil or hidden[own] then
    setmetatable(metatable, guard)
  elseif type(own) == "table" and rawget(own, "__metatable") == nil then
    setmetatable(metatable, copy_with_guard(own))
  else
    error("a table with a protected metatable cannot be a metatable", 3)
  end
  guarded[metatable] = true
end

_G.rawset = function(t, k, ...)
  if guarded[t] and (k == "__close" or k == "__gc") then refuse(k) end
  if getmetatable(t) == watch then host.mark_kept() end
  return rawset(ordinary(t), k, ...)
end

_G.getmetatable = function(...)
  local metatable = getmetatable(...)
  if metatable == nil or hidden[metatable] then return nil end
  return copied[metatable] or metatable
end

_G.setmetatable = function(t, metatable, ...)
  if type(metatable) == "table" then
    protect(ordinary(metatable))
    if guarded[t] then metatable = copy_with_guard(metatable) end
  elseif metatable == nil and guarded[t] then
    metatable = guard
  end
  if getmetatable(t) == watch then host.mark_kept() end
  return setmetatable(ordinary(t), metatable, ...)
end

protect(getmetatable(""))

-- Whether C functions may loop over the table: its length and its elements are its own.
local function is_plain(t)
  if type(t) ~= "table" then return true end
  local metatable = getmetatable(t)
  return metatable == nil or hidden[metatable] == true
end

function table.insert(t, ...)
  if is_plain(t) then return insert(t, ...) end
  local length, n = #t, select("#", ...)
  local position, value = length + 1, (...)
  if n == 2 then
    position, value = ...
    position = integer(position) or error("number has no integer representation", 2)
    if position < 1 or position > length + 1 then error("position out of bounds", 2) end
    for i = length, position, -1 do t[i + 1] = t[i] end
  elseif n ~= 1 then
    error("wrong number of arguments to 'insert'", 2)
  end
  t[position] = value
end

function table.remove(t, ...)
  if is_plain(t) then return remove(t, ...) end
  local length = #t
  local position = length
  if select("#", ...) > 0 then
    position = integer((...)) or error("number has no integer representation", 2)
    if length + 1 ~= position and (length ~= 0 or position ~= 0) and (position < 1 or position > length + 1) then
      error("position out of bounds", 2)
    end
  end
  local value = t[position]
  for i = position, length - 1 do t[i] = t[i + 1] end
  t[position < length and length or position] = nil
  return value
end

function table.concat(t, separator, first, last)
  if is_plain(t) then return concat(t, separator, first, last) end
  local parts, n = {}, 0
  for i = first or 1, last or #t do
    n = n + 1
    parts[n] = t[i]
    if parts[n] == nil then error("invalid value (at index " .. i .. ") in table for 'concat'", 2) end
  end
  return concat(parts, separator)
end

function table.move(from, first, last, position, to)
  local a, b, p = integer(first), integer(last), integer(position)
  if not (a and b and p) or b < a then return move(from, first, last, position, to) end
  local short = b - a >= 0 and b - a < 1000000
  if short and is_plain(from) and is_plain(to) then return move(from, first, last, position, to) end
  if not (a > 0 or b < math.maxinteger + a) then error("too many elements to move", 2) end
  if p > math.maxinteger - (b - a) then error("destination wrap around", 2) end
  local target = to or from
  if p > b or p <= a or target ~= from then
    for i = 0, b - a do target[p + i] = from[a + i] end
  else
    for i = b - a, 0, -1 do target[p + i] = from[a + i] end
  end
  return target
end

function table.sort(t, ...)
  if is_plain(t) then return sort(t, ...) end
  local length = #t
  local copy = {}
  for i = 1, length do copy[i] = t[i] end
  sort(copy, ...)
  for i = 1, length do t[i] = copy[i] end
end

-- Patterns --------------------------------------------------------------------------------------------------

local find, match, gmatch, gsub = string.find, string.match, string.gmatch, string.gsub
local sub, tonumber = string.sub, tonumber
local metered_find, metered_find_plain = host.find, host.find_plain

-- The number of repetitions of each pattern seen so far, which is the exponent of the time that it may take.
local repetitions, known = {}, 0

local function repetitions_of(pattern)
  local _, n = gsub(pattern, "[-*+?]", "")
  local _, balanced = gsub(pattern, "%%b", "")
  if known >= 500 then repetitions, known = {}, 0 end
  known = known + 1
  n = n + balanced + 1
  repetitions[pattern] = n
  return n
end

-- Whether the C function is certain to end soon; it does so too for arguments that it refuses.
local function is_quick(s, pattern)
  if type(s) ~= "string" or type(pattern) ~= "string" then return true end
  return (#s + 1) ^ (repetitions[pattern] or repetitions_of(pattern)) * #pattern <= 1e7
end

local function start_of(s, init)
  init = init == nil and 1 or integer(init) or error("number has no integer representation", 3)
  if init > 0 then return init end
  if init == 0 or init < -#s then return 1 end
  return #s + init + 1
end

local function matched(s, start, last, ...)
  if start == nil then return nil end
  if select("#", ...) == 0 then return sub(s, start, last) end
  return ...
end

function string.find(s, pattern, init, plain)
  if is_quick(s, pattern) then return find(s, pattern, init, plain) end
  local start = start_of(s, init)
  if start > #s + 1 then return nil end
  if plain or not find(pattern, "[%^%$%*%+%?%.%(%[%%%-]") then
    local first, last = metered_find_plain(s, pattern, start - 1)
    if first then return first, last end
    return nil
  end
  return metered_find(s, pattern, start - 1, true)
end

function string.match(s, pattern, init)
  if is_quick(s, pattern) then return match(s, pattern, init) end
  local start = start_of(s, init)
  if start > #s + 1 then return nil end
  return matched(s, metered_find(s, pattern, start - 1, true))
end

function string.gmatch(s, pattern, init)
  if is_quick(s, pattern) then return gmatch(s, pattern, init) end
  local from, not_end = start_of(s, init) - 1, nil
  local function step(start, last, ...)
    if start == nil then
      from = #s + 1
      return nil
    end
    from, not_end = last, last
    return matched(s, start, last, ...)
  end
  return function()
    if from > #s then return nil end
    return step(metered_find(s, pattern, from, false, not_end))
  end
end

local function expand(template, whole, ...)
  local captures, n = {...}, select("#", ...)
  return (gsub(template, "%%(.?)", function(c)
    if c == "0" then return whole end
    if c == "%" then return "%" end
    local index = find(c, "%d") and integer(tonumber(c))
    if not index then error("invalid use of '%' in replacement string", 0) end
    if index == 1 and n == 0 then return whole end
    if index > n then error("invalid capture index %" .. index, 0) end
    return tostring(captures[index])
  end))
end

local function replacement(replace, kind, whole, first, ...)
  local value
  if kind == "string" then
    if first == nil then return expand(replace, whole) end
    return expand(replace, whole, first, ...)
  elseif kind == "table" then
    value = replace[first == nil and whole or first]
  elseif first == nil then
    value = replace(whole)
  else
    value = replace(first, ...)
  end
  if not value then return whole end
  if type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 0)
  end
  return value
end

function string.gsub(s, pattern, replace, most)
  if is_quick(s, pattern) then return gsub(s, pattern, replace, most) end
  local kind = type(replace)
  if kind == "number" then replace, kind = tostring(replace), "string" end
  if kind ~= "string" and kind ~= "table" and kind ~= "function" then
    return gsub("", "", replace)
  end
  most = most == nil and #s + 1 or integer(most) or error("number has no integer representation", 2)
  local parts, n, from, not_end, count = {}, 0, 0, nil, 0
  local anchored = sub(pattern, 1, 1) == "^"
  local function step(start, last, ...)
    if start == nil then return false end
    count = count + 1
    parts[n + 1] = sub(s, from + 1, start - 1)
    n = n + 2
    local whole = sub(s, start, last)
    if select("#", ...) == 0 then
      parts[n] = replacement(replace, kind, whole)
    else
      parts[n] = replacement(replace, kind, whole, ...)
    end
    from, not_end = last, last
    return not anchored
  end
  while count < most and from <= #s and step(metered_find(s, pattern, from, true, not_end)) do end
  parts[n + 1] = sub(s, from + 1)
  return concat(parts), count
end

-- The rest --------------------------------------------------------------------------------------------------

_G.collectgarbage = function(option)
  if option == "count" then return collectgarbage("count") end
  error("collectgarbage: only the option 'count' is available", 2)
end

function print(...)
  local n = select("#", ...)
  local parts = {...}
  for i = 1, n do parts[i] = tostring(parts[i]) end
  host.print(concat(parts, "\t", 1, n))
end

function warn(first, ...)
  local text = concat({first, ...})
  if select("#", ...) > 0 or string.sub(text, 1, 1) ~= "@" then host.warn(text) end
end

unpack, loadstring = table.unpack, _G.load
math.pow = function(x, y) return x ^ y end

-- Runs code for the engine: true and its results, or false and the error object.
local handler = host.on_error
function host.run(f, ...) return xpcall(f, handler, ...) end

for _, t in next, {_G, string, table, math, utf8, coroutine} do setmetatable(t, watch) end
