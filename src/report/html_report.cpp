#include <graft/html_report.h>

#include <algorithm>

#include <graft/error.h>
#include <graft/files.h>
#include <graft/report.h>

#include "base/base64.h"
#include "base/translate.h"
#include "report/page.h"

namespace graft {

namespace {

using report::Json;

constexpr int kFormat = 1;

bool begins_with(std::span<const std::byte> file, std::string_view signature) {
  return file.size() >= signature.size() &&
         std::string_view(reinterpret_cast<const char*>(file.data()), signature.size()) == signature;
}

Json picture_json(const ReportPicture& picture) {
  if (!begins_with(picture.file, "\x89PNG\r\n\x1a\n") && !begins_with(picture.file, "\xFF\xD8\xFF"))
    throw Error(ErrorCode::kFormat,
                "a report's picture (" + picture.caption + "): expected a PNG or JPEG file, found other bytes");
  return {{"file", base::base64(picture.file)}, {"caption", picture.caption}, {"description", picture.description}};
}

Json picture_json(const std::optional<ReportPicture>& picture) { return picture ? picture_json(*picture) : Json(); }

Json settings_json(const std::vector<ReportSetting>& settings) {
  Json all = Json::array();
  for (const auto& setting : settings) all.push_back({{"name", setting.name}, {"value", setting.value}});
  return all;
}

std::string in_words(FindingCode code) {
  std::string words(to_string(code));
  std::ranges::replace(words, '_', ' ');
  return words;
}

Json findings_json(const std::vector<Finding>& findings) {
  Json all = Json::array();
  for (const auto& finding : findings)
    all.push_back({{"severity", std::string(to_string(finding.severity))},
                   {"title", in_words(finding.code)},
                   {"where", finding.where},
                   {"seen", finding.seen},
                   {"change", finding.change}});
  return all;
}

Json document(const Report& report) {
  Json evaluations = Json::array(), top_losses = Json::array(), pictures = Json::array();
  for (const auto& one : report.evaluations)
    evaluations.push_back({{"name", one.name}, {"evaluation", Json::parse(to_json(one.evaluation))}});
  for (const auto& one : report.top_losses)
    top_losses.push_back({{"name", one.name},
                          {"label", one.label},
                          {"guess", one.guess},
                          {"probability", one.probability},
                          {"loss", one.loss},
                          {"picture", picture_json(one.picture)},
                          {"heat_map", picture_json(one.heat_map)}});
  for (const auto& picture : report.pictures) pictures.push_back(picture_json(picture));
  return {{"graft_report", kFormat},
          {"title", report.title},
          {"settings", settings_json(report.settings)},
          {"history", report.history ? Json::parse(to_json(*report.history)) : Json()},
          {"phases", report.phases},
          {"evaluations", std::move(evaluations)},
          {"top_losses", std::move(top_losses)},
          {"augmentation_sheet", picture_json(report.augmentation_sheet)},
          {"pictures", std::move(pictures)},
          {"findings", report.findings ? findings_json(*report.findings) : Json()},
          {"hashes", settings_json(report.hashes)}};
}

Json parsed(const ReportDocument& document) {
  Json parsed = Json::parse(document.json, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object() || !parsed.contains("graft_report"))
    throw Error(ErrorCode::kFormat, "expected a report's JSON (\"graft_report\"), found " +
                                        std::string(parsed.is_discarded() ? "no JSON" : "another document"));
  if (parsed["graft_report"] != kFormat)
    throw Error(ErrorCode::kFormat,
                "expected \"graft_report\": " + std::to_string(kFormat) + ", found " + parsed["graft_report"].dump());
  return parsed;
}

}  // namespace

std::string to_json(const Report& report) {
  return base::translated("report",
                          [&] { return document(report).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; });
}

std::string to_html(const Report& report) {
  // By way of the text: what is not UTF-8 is replaced, and the page is the same as from the file.
  return base::translated("report", [&] { return report::run_page(Json::parse(to_json(report))); });
}

void write_html(const std::filesystem::path& path, const Report& report) { write_atomically(path, to_html(report)); }

std::string to_html(std::span<const ReportDocument> documents) {
  if (documents.empty()) throw Error(ErrorCode::kConfig, "reports: expected at least one, found none");
  return base::translated("report", [&] {
    std::vector<report::NamedRun> runs;
    for (const auto& document : documents)
      runs.push_back({document.name, base::named(document.name, [&] { return parsed(document); })});
    if (runs.size() == 1) return base::named(runs[0].name, [&] { return report::run_page(runs[0].document); });
    return report::comparison_page(runs);
  });
}

}  // namespace graft
