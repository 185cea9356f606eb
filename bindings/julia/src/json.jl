# SPDX-License-Identifier: BSD-3-Clause
# json.jl: reads the JSON in which the library describes an engine, so that nothing beyond Julia is needed. It is trusted
# to be well formed.

function parse_json(text::AbstractString)
    value, rest = json_value(text, firstindex(text))
    return value
end

function skip_blank(text, at)
    while text[at] in (' ', '\n', '\t', '\r', ',', ':')
        at = nextind(text, at)
    end
    return at
end

# The value that begins at a place in the text, and the place behind it.
function json_value(text, at)
    at = skip_blank(text, at)
    text[at] == '{' && return json_object(text, nextind(text, at))
    text[at] == '[' && return json_array(text, nextind(text, at))
    text[at] == '"' && return json_string(text, nextind(text, at))
    word = match(r"[^\s,\]}]+", text, at).match
    value = word == "true" ? true : word == "false" ? false : word == "null" ? nothing :
            occursin(r"[.eE]", word) ? parse(Float64, word) : parse(Int, word)
    return value, at + ncodeunits(word)
end

function json_object(text, at)
    object = Dict{String,Any}()
    at = skip_blank(text, at)
    while text[at] != '}'
        key, at = json_value(text, at)
        object[key], at = json_value(text, at)
        at = skip_blank(text, at)
    end
    return object, nextind(text, at)
end

function json_array(text, at)
    array = Any[]
    at = skip_blank(text, at)
    while text[at] != ']'
        value, at = json_value(text, at)
        push!(array, value)
        at = skip_blank(text, at)
    end
    return array, nextind(text, at)
end

function json_string(text, at)
    out = IOBuffer()
    while text[at] != '"'
        if text[at] == '\\'
            at = nextind(text, at)
            if text[at] == 'u'
                print(out, Char(parse(UInt16, text[at+1:at+4]; base = 16)))
                at += 4
            else
                print(out, get(Dict('n' => '\n', 't' => '\t', 'r' => '\r', 'b' => '\b', 'f' => '\f'), text[at], text[at]))
            end
        else
            print(out, text[at])
        end
        at = nextind(text, at)
    end
    return String(take!(out)), nextind(text, at)
end
