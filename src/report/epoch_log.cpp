#include <cmath>

#include <graft/report.h>

#include "base/translate.h"
#include "report/epoch_json.h"
#include "report/fields.h"

namespace graft {

namespace {

using report::Json;

constexpr const char* kColumns[] = {
    "epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy", "val_top5_accuracy", "learning_rate", "seconds"};

/// The epochs as objects, with their numbers.
Json rows_of(const History& history) {
  Json rows = Json::array();
  for (const auto& epoch : history.epochs) {
    rows.push_back(report::epoch_json(epoch));
    rows.back()["epoch"] = rows.size();
  }
  return rows;
}

/// As in JSON, with all digits; nothing for what is not there or not finite.
std::string csv_number(const Json& row, const char* key) {
  const auto value = row.find(key);
  return value == row.end() || value->is_null() || (value->is_number_float() && !std::isfinite(value->get<double>()))
             ? ""
             : value->dump();
}

}  // namespace

std::string to_csv(const History& history) {
  return base::translated("report", [&] {
    const auto line = [](const auto& text_of) {
      std::string values;
      for (const char* column : kColumns) values += (column == kColumns[0] ? "" : ",") + text_of(column);
      return values + "\n";
    };
    std::string csv = line([](const char* column) { return std::string(column); });
    for (const auto& row : rows_of(history)) csv += line([&](const char* column) { return csv_number(row, column); });
    return csv;
  });
}

std::string to_json_lines(const History& history) {
  return base::translated("report", [&] {
    std::string lines;
    for (const auto& row : rows_of(history)) lines += row.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    return lines;
  });
}

}  // namespace graft
