/// Values of a report's JSON document, which another version or a person may have written: what is not there (or null)
/// is left out of the page, what has another type is an error.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace graft::report {

using Json = nlohmann::json;

/// Each throws Error kFormat naming `key` for a value of another type.
std::optional<double> number(const Json& object, const char* key);
std::string string(const Json& object, const char* key);     ///< empty if it is not there
const Json& list(const Json& object, const char* key);       ///< empty if it is not there
const Json* object_of(const Json& object, const char* key);  ///< null if it is not there

bool flag(const Json& object, const char* key);  ///< false if it is not there

/// number(), or not a number.
double number_or_nan(const Json& object, const char* key);
/// The number `key` of each object in the list, or not a number.
std::vector<double> column(const Json& rows, const char* key);

}  // namespace graft::report
