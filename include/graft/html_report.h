/// What a run came to, for people: one self-contained HTML page. And as a JSON document, to compare runs by.
/// Thread-safety: values, and functions without state; safe everywhere.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <graft/evaluation.h>
#include <graft/export.h>
#include <graft/finding.h>
#include <graft/history.h>

namespace graft {

/// How a run was set up: one line of a table.
struct ReportSetting {
  std::string name;
  std::string value;
};

/// A file for the page, PNG or JPEG, as Image::encode_jpeg gives it.
struct ReportPicture {
  std::vector<std::byte> file;
  std::string caption;
  std::string description;  ///< for people who cannot see it; empty: the caption says it all
};

/// An example that the model got wrong, or nearly.
struct ReportExample {
  std::string name;  ///< of the file
  std::string label;
  std::string guess;
  double probability = 0;  ///< of the guess, 0..1
  double loss = 0;
  std::optional<ReportPicture> picture = {};
  std::optional<ReportPicture> heat_map = {};  ///< where the model looked
};

/// An evaluation and what it was of: "validation data". Empty for the only one.
struct ReportEvaluation {
  std::string name;
  Evaluation evaluation;
};

/// What a page is made from. Parts that are empty are left out of it.
struct Report {
  std::string title;
  std::vector<ReportSetting> settings = {};
  std::optional<History> history = {};
  std::vector<std::string> phases = {};  ///< what History's phases are called: "head", "all layers"
  std::vector<ReportEvaluation> evaluations = {};
  std::vector<ReportExample> top_losses = {};
  std::optional<ReportPicture> augmentation_sheet = {};
  std::vector<ReportPicture> pictures = {};           ///< any others
  std::optional<std::vector<Finding>> findings = {};  ///< empty list: looked for, none found
  std::vector<ReportSetting> hashes = {};             ///< what was used, and its SHA-256
};

/// A page of one file: styles, script, charts (SVG) and pictures are in it, nothing is fetched. The same report gives
/// the same bytes. Throws Error kFormat for a picture that is neither PNG nor JPEG.
GRAFT_EXPORT std::string to_html(const Report& report);
/// The same data: {"title", "settings", "history", "evaluations", ...}; pictures in base64.
GRAFT_EXPORT std::string to_json(const Report& report);

/// Writes to_html, whole or not at all. Throws as to_html, and kIo.
GRAFT_EXPORT void write_html(const std::filesystem::path& path, const Report& report);

class Dataset;
/// SHA-256 over the classes and, in order, each example's label and content_id, for Report::hashes. Empty where one of
/// these is not known.
GRAFT_EXPORT std::string content_hash(const Dataset& data);

/// A document of to_json, and what its run is to be called: its file's name.
struct ReportDocument {
  std::string name;
  std::string json;
};

/// The page of one run as to_html(report) gives it; of several a page that compares them: curves in the same charts,
/// final and best figures, settings that differ. Throws Error kFormat naming the document that is none of to_json's,
/// kConfig for none at all.
GRAFT_EXPORT std::string to_html(std::span<const ReportDocument> documents);

}  // namespace graft
