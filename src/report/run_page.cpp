#include <algorithm>
#include <numeric>

#include <graft/error.h>

#include "report/sections.h"

namespace graft::report {

namespace {

/// The picture's media type by its first bytes, seen through base64.
Html media_type(const std::string& base64) {
  if (base64.starts_with("iVBORw0KGgo")) return "image/png"_html;
  if (base64.starts_with("/9j/")) return "image/jpeg"_html;
  throw Error(ErrorCode::kFormat, "report: a picture: expected PNG or JPEG in base64");
}

Html image(const Json& picture) {
  const std::string file = string(picture, "file"), description = string(picture, "description");
  return "<img src=\"data:"_html + media_type(file) + ";base64,"_html + text(file) + "\" alt=\""_html +
         text(description.empty() ? string(picture, "caption") : description) + "\">"_html;
}

Html captioned(const Json& picture) {
  return "<figure class=\"card\"><div class=\"scroll sheet\" role=\"region\" tabindex=\"0\" aria-label=\""_html +
         text(string(picture, "caption")) + "\">"_html + image(picture) + "</div><figcaption class=\"note\">"_html +
         text(string(picture, "caption")) + "</figcaption></figure>"_html;
}

Html overview(const Json& document) {
  const Json* history = object_of(document, "history");
  if (!history || list(*history, "epochs").empty()) return {};
  const Json& epochs = list(*history, "epochs");
  std::vector<Tile> shown;
  const auto best = best_epoch(*history);
  const std::string of = " of " + std::to_string(epochs.size());
  if (best) {
    const Json& epoch = epochs[*best];
    const std::string at = "epoch " + std::to_string(*best + 1) + of;
    if (const auto accuracy = number(epoch, "val_accuracy"))
      shown.push_back({"best validation accuracy", percent(*accuracy), at});
    if (const auto loss = number(epoch, "val_loss")) shown.push_back({"validation loss", decimal(*loss, 4), at});
  }
  shown.push_back({"training loss", decimal(number_or_nan(epochs.back(), "loss"), 4),
                   "epoch " + std::to_string(epochs.size()) + of});
  const auto seconds = column(epochs, "seconds");
  shown.push_back({"time", duration(std::accumulate(seconds.begin(), seconds.end(), 0.0)),
                   decimal(number_or_nan(*history, "images_per_second"), 1) + " examples/s in training"});
  if (history->contains("frozen_unchanged"))
    shown.push_back({"frozen weights", flag(*history, "frozen_unchanged") ? "unchanged" : "changed",
                     "by SHA-256 before and after"});
  if (flag(*history, "stopped_early")) shown.push_back({"ended", "early", "no better epoch came"});
  if (flag(*history, "interrupted")) shown.push_back({"ended", "interrupted", "before its last epoch"});
  if (const double resumed = number(*history, "resumed_at").value_or(0); resumed > 0)
    shown.push_back({"resumed", "epoch " + decimal(resumed + 1, 0), "the epochs before are of an earlier run"});
  return tiles(shown);
}

/// The badge of a finding, and its style.
struct SeverityLook {
  Html label, look;
};

SeverityLook severity_look(const std::string& severity) {
  if (severity == "error") return {"Error"_html, "error"_html};
  if (severity == "warning") return {"Warning"_html, "warning"_html};
  return {"Note"_html, "info"_html};
}

Html findings(const Json& document) {
  if (const auto found = document.find("findings"); found == document.end() || found->is_null()) return {};
  const Json& found = list(document, "findings");
  if (found.empty())
    return "<div class=\"card\"><p class=\"fine\">Nothing was found that should be changed.</p></div>"_html;
  Html items;
  for (const auto& finding : found) {
    const auto look = severity_look(string(finding, "severity"));
    const std::string where = string(finding, "where");
    items += "<li class=\"finding "_html + look.look + "\"><h3><span class=\"badge\">"_html + look.label +
             "</span> "_html + text(string(finding, "title")) +
             (where.empty() ? Html() : " <small>"_html + text(where) + "</small>"_html) + "</h3><p>"_html +
             text(string(finding, "seen")) + "</p><p><strong>Change:</strong> "_html + text(string(finding, "change")) +
             "</p></li>\n"_html;
  }
  return "<ul class=\"findings\">"_html + items + "</ul>"_html;
}

Html example(const Json& example) {
  Html views;
  for (const char* key : {"picture", "heat_map"})
    if (const Json* picture = object_of(example, key)) views += image(*picture);
  const std::string label = string(example, "label"), guess = string(example, "guess");
  return "<li><figure class=\"example\">"_html +
         (views.empty() ? Html() : "<div class=\"views\">"_html + views + "</div>"_html) +
         "<figcaption><p class=\"verdict\">"_html + text(label == guess ? label : label + " taken for " + guess) +
         "</p><p class=\"file\">"_html +
         text(percent(number_or_nan(example, "probability")) + " sure, loss " +
              decimal(number_or_nan(example, "loss"), 3)) +
         "</p><p class=\"file\">"_html + text(string(example, "name")) + "</p></figcaption></figure></li>\n"_html;
}

Html top_losses(const Json& document) {
  Html items;
  bool heat = false;
  for (const auto& one : list(document, "top_losses")) {
    items += example(one);
    heat = heat || object_of(one, "heat_map");
  }
  if (items.empty()) return {};
  return "<p class=\"note\">The examples with the highest loss"_html +
         (heat ? "; beside each picture, what the network looked at.</p>"_html : ".</p>"_html) +
         "<ul class=\"examples\">"_html + items + "</ul>"_html;
}

Html pictures(const Json& document) {
  Html figures;
  for (const auto& picture : list(document, "pictures")) figures += captioned(picture);
  return figures;
}

Html pairs(const Json& lines, const std::string& caption, const std::vector<Column>& columns, bool code) {
  if (lines.empty()) return {};
  Table shown{.caption = caption, .columns = columns};
  for (const auto& line : lines) {
    const Html value = text(string(line, "value"));
    shown.rows.push_back({{text_cell(string(line, "name")), {code ? "<code>"_html + value + "</code>"_html : value}}});
  }
  return "<div class=\"card\">"_html + table(shown) + "</div>"_html;
}

Html unreadable(const Json& document) {
  const Json* history = object_of(document, "history");
  std::vector<const Json*> sources;
  if (history) sources.push_back(history);
  for (const auto& one : list(document, "evaluations"))
    if (const Json* evaluation = object_of(one, "evaluation")) sources.push_back(evaluation);
  Table files{.caption = "Left out", .columns = {{"file"}, {"reason"}}, .sortable = true};
  std::vector<std::string> seen;
  for (const auto* source : sources)
    for (const auto& bad : list(*source, "bad_images")) {
      const std::string name = string(bad, "file");
      if (std::ranges::find(seen, name) != seen.end()) continue;
      seen.push_back(name);
      files.rows.push_back({{text_cell(name), text_cell(string(bad, "error"))}});
    }
  return files.rows.empty() ? Html() : "<div class=\"card\">"_html + table(files) + "</div>"_html;
}

}  // namespace

std::string run_page(const Json& document) {
  std::vector<Section> sections = {{"overview", "Overview", overview(document)},
                                   {"findings", "Findings", findings(document)},
                                   {"curves", "Curves", curves(document)}};
  std::size_t count = 0;
  for (const auto& one : list(document, "evaluations")) {
    const std::string id = "evaluation-" + std::to_string(++count), name = string(one, "name");
    if (const Json* scores = object_of(one, "evaluation"))
      sections.push_back({id, name.empty() ? "Evaluation" : "Evaluation: " + name, evaluation(*scores, id)});
  }
  sections.push_back({"top-losses", "Top losses", top_losses(document)});
  if (const Json* sheet = object_of(document, "augmentation_sheet"))
    sections.push_back({"augmentation", "Augmentation", captioned(*sheet)});
  sections.push_back({"pictures", "Pictures", pictures(document)});
  sections.push_back({"unreadable", "Unreadable files", unreadable(document)});
  sections.push_back({"settings", "Settings",
                      pairs(list(document, "settings"), "How the run was set up", {{"setting"}, {"value"}}, false)});
  sections.push_back({"hashes", "Hashes",
                      pairs(list(document, "hashes"), "What was used, by its SHA-256", {{"of"}, {"SHA-256"}}, true)});
  const bool trained = object_of(document, "history") != nullptr;
  return page(string(document, "title"), trained ? "fine-tuning report" : "report", sections);
}

}  // namespace graft::report
