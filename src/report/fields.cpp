#include "report/fields.h"

#include <limits>

#include <graft/error.h>

namespace graft::report {

namespace {

/// The value, or null where there is none.
const Json& value(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object())
    throw Error(ErrorCode::kFormat,
                std::string("report: expected an object with \"") + key + "\", found a " + object.type_name());
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

[[noreturn]] void refuse(const char* key, const char* expected, const Json& found) {
  throw Error(ErrorCode::kFormat,
              std::string("report: \"") + key + "\": expected " + expected + ", found a " + found.type_name());
}

}  // namespace

std::optional<double> number(const Json& object, const char* key) {
  const Json& found = value(object, key);
  if (found.is_null()) return std::nullopt;
  if (!found.is_number()) refuse(key, "a number", found);
  return found.get<double>();
}

std::string string(const Json& object, const char* key) {
  const Json& found = value(object, key);
  if (found.is_null()) return "";
  if (!found.is_string()) refuse(key, "a string", found);
  return found.get<std::string>();
}

bool flag(const Json& object, const char* key) {
  const Json& found = value(object, key);
  if (found.is_null()) return false;
  if (!found.is_boolean()) refuse(key, "true or false", found);
  return found.get<bool>();
}

const Json& list(const Json& object, const char* key) {
  static const Json none = Json::array();
  const Json& found = value(object, key);
  if (found.is_null()) return none;
  if (!found.is_array()) refuse(key, "a list", found);
  return found;
}

const Json* object_of(const Json& object, const char* key) {
  const Json& found = value(object, key);
  if (found.is_null()) return nullptr;
  if (!found.is_object()) refuse(key, "an object", found);
  return &found;
}

double number_or_nan(const Json& object, const char* key) {
  return number(object, key).value_or(std::numeric_limits<double>::quiet_NaN());
}

std::vector<double> column(const Json& rows, const char* key) {
  std::vector<double> values;
  for (const auto& row : rows) values.push_back(number_or_nan(row, key));
  return values;
}

}  // namespace graft::report
