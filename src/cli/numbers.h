/// Checks for numbers on the command line.
#pragma once

#include <charconv>
#include <cmath>
#include <string>

#include <CLI/CLI.hpp>

namespace graft::cli {

/// A finite number in C's notation whatever the locale ("nan", "inf" and "1,5" are none) that `fits`.
template <class Fits>
CLI::Validator number_that(Fits fits, const std::string& expected, const std::string& shown) {
  return {[=](std::string& text) {
            double value = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            const bool fine =
                error == std::errc() && end == text.data() + text.size() && std::isfinite(value) && fits(value);
            return fine ? std::string() : "expected " + expected + ", found \"" + text + "\"";
          },
          shown};
}

inline CLI::Validator positive_number() {
  return number_that([](double value) { return value > 0; }, "a number above 0", "NUMBER > 0");
}

/// Without a sign; a unit may follow.
inline CLI::Validator not_negative() {
  return {[](std::string& text) {
            return text.starts_with('-') ? "expected 0 or more, found \"" + text + "\"" : std::string();
          },
          ""};
}

inline CLI::Validator fraction() {
  return number_that([](double value) { return value >= 0 && value < 1; }, "0 to below 1", "0 <= NUMBER < 1");
}

inline CLI::Validator probability() {
  return number_that([](double value) { return value >= 0 && value <= 1; }, "0 to 1", "0 <= NUMBER <= 1");
}

inline CLI::Validator at_least_one() {
  return CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}).description("INT >= 1");
}

}  // namespace graft::cli
