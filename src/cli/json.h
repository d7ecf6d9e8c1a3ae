/// Results for other programs.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/common.h"

namespace graft::cli {

/// Bytes that are not UTF-8, as of file names, are replaced.
inline std::string indented(const nlohmann::json& document) {
  return document.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}
/// The same without white space.
inline std::string compact(const nlohmann::json& document) {
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// What could not be read, and why.
inline nlohmann::json bad_images_json(const std::vector<BadImage>& bad_images) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& bad : bad_images) list.push_back({{"file", bad.name}, {"error", bad.message}});
  return list;
}

/// A document on standard output.
inline void print_json(const nlohmann::json& document) { print(indented(document)); }

}  // namespace graft::cli
