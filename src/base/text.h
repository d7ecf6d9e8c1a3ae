/// Small text helpers: parsing numbers without the locale, splitting, patterns.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace graft::base {

/// A finite number written in C's notation ("0.2", "1e-3"), the whole text. Throws Error kConfig naming `what`.
double parse_number(std::string_view text, std::string_view what);

/// A whole number, the whole text. Throws Error kConfig naming `what`.
std::int64_t parse_integer(std::string_view text, std::string_view what);

/// Parts between separators; an empty text has none.
std::vector<std::string> split(std::string_view text, char separator);

/// ASCII letters as small ones.
std::string lower_case(std::string_view text);

/// Of ASCII, whatever the locale.
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter_or_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// In as few digits as tell it from every other number, without the locale.
std::string shortest(double value);

/// Shell pattern without brackets: "*" any text, "?" one character.
bool matches(std::string_view pattern, std::string_view text);

/// Removes the first character of `text`, which is not empty, and returns it; nothing, and a byte is removed, where it
/// does not begin with a whole one in UTF-8 (RFC 3629).
std::optional<char32_t> take_code_point(std::string_view& text);

/// RFC 3629.
bool is_utf8(std::string_view text);

/// Bytes that are not UTF-8 as "\xfc".
std::string with_bytes_shown(std::string_view text);

/// Whether it is UTF-8 (RFC 3629) without control characters other than tab and line feed.
bool is_plain_text(std::string_view text);

/// As character data or in a quoted attribute of XML or HTML. What is no character of XML 1.0, bytes that are not UTF-8
/// (RFC 3629) among it, becomes U+FFFD.
std::string escaped(std::string_view text);

/// The names, quoted and comma-separated, at most `most` of them and "... (N more)".
std::string list_names(const std::vector<std::string>& names, std::size_t most = 8);

}  // namespace graft::base
