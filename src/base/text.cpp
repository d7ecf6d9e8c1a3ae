#include "base/text.h"

#include <array>
#include <charconv>
#include <cmath>

#include <graft/error.h>

#include "base/printf.h"

namespace graft::base {

namespace {

template <class Number>
Number parse(std::string_view text, std::string_view what, const char* kind) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool fine = error == std::errc() && end == text.data() + text.size();
  if constexpr (std::is_floating_point_v<Number>) fine = fine && std::isfinite(value);
  if (!fine)
    throw Error(ErrorCode::kConfig, std::string(what) + ": expected " + kind + ", found \"" + std::string(text) + "\"");
  return value;
}

/// Removes the first character of `text` and returns its bytes; nothing for a byte that begins none, and for control
/// characters but tab and line feed.
std::string_view take_character(std::string_view& text) {
  const auto whole = text;
  const auto code = take_code_point(text);
  const bool control = code && ((*code < 0x20 && *code != '\t' && *code != '\n') || *code == 0x7f);
  const bool fine = code && !control && (*code | 1) != 0xffff;
  return whole.substr(0, fine ? whole.size() - text.size() : 0);
}

}  // namespace

double parse_number(std::string_view text, std::string_view what) { return parse<double>(text, what, "a number"); }

std::int64_t parse_integer(std::string_view text, std::string_view what) {
  return parse<std::int64_t>(text, what, "a whole number");
}

std::optional<char32_t> take_code_point(std::string_view& text) {
  constexpr std::array<std::uint32_t, 4> kLowest{0, 0x80, 0x800, 0x10000};  // of those with no, one, ... bytes behind
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::size_t behind = byte(0) < 0x80 ? 0 : byte(0) < 0xe0 ? 1 : byte(0) < 0xf0 ? 2 : 3;
  bool fine = (byte(0) < 0x80 || byte(0) >= 0xc0) && byte(0) < 0xf8 && behind < text.size();
  std::uint32_t code = behind == 0 ? byte(0) : byte(0) & (0x3fu >> behind);
  for (std::size_t i = 1; fine && i <= behind; ++i) {
    fine = (byte(i) & 0xc0u) == 0x80;
    code = code << 6 | (byte(i) & 0x3fu);
  }
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  fine = fine && code >= kLowest[behind] && code <= 0x10ffff && !surrogate;
  text.remove_prefix(fine ? behind + 1 : 1);
  return fine ? std::optional<char32_t>(code) : std::nullopt;
}

bool is_utf8(std::string_view text) {
  while (!text.empty())
    if (!take_code_point(text)) return false;
  return true;
}

std::string with_bytes_shown(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const auto rest = text;
    if (take_code_point(text)) {
      shown += rest.substr(0, rest.size() - text.size());
    } else {
      shown += format("\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(rest[0])));
    }
  }
  return shown;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
    if (text.empty()) parts.emplace_back();
  }
  return parts;
}

bool matches(std::string_view pattern, std::string_view text) {
  // Greedy with one point to return to: the last "*" and how much it had eaten.
  std::size_t p = 0, t = 0, star = std::string_view::npos, eaten = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      eaten = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++eaten;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

std::string shortest(double value) {
  std::array<char, 40> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

bool is_plain_text(std::string_view text) {
  while (!text.empty())
    if (take_character(text).empty()) return false;
  return true;
}

std::string escaped(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto character = take_character(text);
    if (character.empty()) {
      result += "\xEF\xBF\xBD";
    } else if (character == "&") {
      result += "&amp;";
    } else if (character == "<") {
      result += "&lt;";
    } else if (character == ">") {
      result += "&gt;";
    } else if (character == "\"") {
      result += "&quot;";
    } else if (character == "'") {
      result += "&#39;";
    } else {
      result += character;
    }
  }
  return result;
}

std::string list_names(const std::vector<std::string>& names, std::size_t most) {
  std::string list;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) list += (i ? ", \"" : "\"") + names[i] + "\"";
  if (names.size() > most) list += ", ... (" + std::to_string(names.size() - most) + " more)";
  return list;
}

}  // namespace graft::base
