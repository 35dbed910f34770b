-- The sandbox, run once in each new state. `host` holds functions of the engine.
--
-- What can catch an error looks at the limits again, so that a stop cannot be caught; what looks into tables
-- behind their metatables fills tables that are filled on demand first; loops inside of C functions that
-- metamethods could make endless are done in Lua, where they are counted.
local host = ...

local error, next, type, tostring, select = error, next, type, tostring, select
local raw_pcall, raw_xpcall, raw_load = pcall, xpcall, load
local raw_getmetatable, raw_setmetatable = getmetatable, setmetatable
local raw_get, raw_set, raw_len = rawget, rawset, rawlen
local raw_collectgarbage = collectgarbage
local raw_insert, raw_remove, raw_concat = table.insert, table.remove, table.concat
local raw_move, raw_sort = table.move, table.sort
local raw_create, raw_wrap = coroutine.create, coroutine.wrap
local raw_resume, raw_close = coroutine.resume, coroutine.close
local integer = math.tointeger
local check, check_coroutine, stopped = host.check, host.check_coroutine, host.stopped
local make_ordinary = host.make_ordinary
local on_demand, hidden = host.on_demand, host.hidden

dofile, loadfile, require, package, os, io, debug = nil, nil, nil, nil, nil, nil, nil
string.dump = nil

-- Errors ----------------------------------------------------------------------------------------------------

local function checked(ok, ...)
  if not ok then check() end
  return ok, ...
end

function pcall(f, ...) return checked(raw_pcall(f, ...)) end

-- A handler runs before the stack is unwound, for a stop even inside of the hook, where no hook runs: a stop must
-- not reach it.
function xpcall(f, on_error, ...)
  if type(on_error) ~= "function" then error("bad argument #2 to 'xpcall' (function expected)", 2) end
  local function handler(e)
    if stopped() then return e end
    return on_error(e)
  end
  return checked(raw_xpcall(f, handler, ...))
end

function coroutine.create(f)
  check_coroutine()
  return raw_create(f)
end

function coroutine.wrap(f)
  check_coroutine()
  return raw_wrap(f)
end

function coroutine.resume(co, ...)
  if type(co) ~= "thread" then error("bad argument #1 to 'resume' (coroutine expected)", 2) end
  return checked(raw_resume(co, ...))
end

function coroutine.close(co)
  if type(co) ~= "thread" then error("bad argument #1 to 'close' (coroutine expected)", 2) end
  return checked(raw_close(co))
end

local function read_all(reader)
  local parts, n = {}, 0
  while true do
    local part = reader()
    if part == nil or part == "" then return raw_concat(parts) end
    if type(part) ~= "string" then error("reader function must return a string", 0) end
    n = n + 1
    parts[n] = part
  end
end

function load(chunk, name, ...)
  if type(chunk) == "function" then
    local ok, text = pcall(read_all, chunk)
    if not ok then return nil, text end
    chunk = text
    name = name or "=(load)"
  end
  if select("#", ...) < 2 then return raw_load(chunk, name, "t") end
  return raw_load(chunk, name, "t", (select(2, ...)))
end

-- Tables ----------------------------------------------------------------------------------------------------

local function ordinary(t)
  if type(t) == "table" and on_demand[raw_getmetatable(t)] then make_ordinary(t) end
  return t
end

_G.next = function(t, ...) return next(ordinary(t), ...) end

function rawget(t, ...) return raw_get(ordinary(t), ...) end

function rawlen(t, ...) return raw_len(ordinary(t), ...) end

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
  raw_set(t, k, v)
end}
hidden[guard] = true

local function copy_with_guard(metatable)
  local copy = {}
  for k, v in next, metatable do copy[k] = v end
  copy.__newindex = function(t, k, v)
    if k == "__close" or k == "__gc" then refuse(k) end
    local handler = raw_get(metatable, "__newindex")
    if handler == nil then
      raw_set(t, k, v)
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
    if raw_get(metatable, key) ~= nil then refuse(key) end
  end
  local own = raw_getmetatable(metatable)
  if own == nil or hidden[own] then
    raw_setmetatable(metatable, guard)
  elseif type(own) == "table" and raw_get(own, "__metatable") == nil then
    raw_setmetatable(metatable, copy_with_guard(own))
  else
    error("a table with a protected metatable cannot be a metatable", 3)
  end
  guarded[metatable] = true
end

function rawset(t, k, ...)
  if guarded[t] and (k == "__close" or k == "__gc") then refuse(k) end
  return raw_set(ordinary(t), k, ...)
end

function getmetatable(...)
  local metatable = raw_getmetatable(...)
  if metatable == nil or hidden[metatable] then return nil end
  return copied[metatable] or metatable
end

function setmetatable(t, metatable, ...)
  if type(metatable) == "table" then
    protect(ordinary(metatable))
    if guarded[t] then metatable = copy_with_guard(metatable) end
  elseif metatable == nil and guarded[t] then
    metatable = guard
  end
  return raw_setmetatable(ordinary(t), metatable, ...)
end

protect(raw_getmetatable(""))

-- Whether C functions may loop over the table: its length and its elements are its own.
local function is_plain(t)
  if type(t) ~= "table" then return true end
  local metatable = raw_getmetatable(t)
  return metatable == nil or hidden[metatable] == true
end

function table.insert(t, ...)
  if is_plain(t) then return raw_insert(t, ...) end
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
  if is_plain(t) then return raw_remove(t, ...) end
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
  if is_plain(t) then return raw_concat(t, separator, first, last) end
  local parts, n = {}, 0
  for i = first or 1, last or #t do
    n = n + 1
    parts[n] = t[i]
    if parts[n] == nil then error("invalid value (at index " .. i .. ") in table for 'concat'", 2) end
  end
  return raw_concat(parts, separator)
end

function table.move(from, first, last, position, to)
  local a, b, p = integer(first), integer(last), integer(position)
  if not (a and b and p) or b < a then return raw_move(from, first, last, position, to) end
  local short = b - a >= 0 and b - a < 1000000
  if short and is_plain(from) and is_plain(to) then return raw_move(from, first, last, position, to) end
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
  if is_plain(t) then return raw_sort(t, ...) end
  local length = #t
  local copy = {}
  for i = 1, length do copy[i] = t[i] end
  raw_sort(copy, ...)
  for i = 1, length do t[i] = copy[i] end
end

-- The rest --------------------------------------------------------------------------------------------------

function collectgarbage(option)
  if option == "count" then return raw_collectgarbage("count") end
  error("collectgarbage: only the option 'count' is available", 2)
end

function print(...)
  local n = select("#", ...)
  local parts = {...}
  for i = 1, n do parts[i] = tostring(parts[i]) end
  host.print(raw_concat(parts, "\t", 1, n))
end

function warn(first, ...)
  local text = raw_concat({first, ...})
  if select("#", ...) > 0 or string.sub(text, 1, 1) ~= "@" then host.warn(text) end
end

unpack, loadstring = table.unpack, load
math.pow = function(x, y) return x ^ y end

-- Runs code for the engine: true and its results, or false and the error object.
local handler = host.on_error
function host.run(f, ...) return raw_xpcall(f, handler, ...) end

-- A new global, or a new entry of a library, can keep the state of a node beyond its end.
local watch = {__newindex = function(t, k, v)
  host.mark_kept()
  raw_set(t, k, v)
end}
hidden[watch] = true
for _, t in next, {_G, string, table, math, utf8, coroutine} do raw_setmetatable(t, watch) end
