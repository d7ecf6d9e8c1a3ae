/// Results for other programs.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/common.h"

namespace graft::cli {

/// A document on standard output; bytes of file names that are not UTF-8 are replaced.
inline void print_json(const nlohmann::json& document) {
  print(document.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace graft::cli
