#include "model/artefact.h"

#include <nlohmann/json.hpp>

#include "base/overloaded.h"
#include "base/sha256.h"
#include "base/text.h"
#include "model/task.h"

namespace graft::model {

namespace {

using nlohmann::json;

constexpr int kSchema = 2;          ///< the newest: the first with texts
constexpr int kSchemaOfImages = 1;  ///< which older versions read as well

json optional_number(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }
std::optional<double> optional_number(const json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<double>());
}

json to_json(const Preprocessing& p) {
  return {{"resize_shorter_px", p.resize_shorter_px ? json(*p.resize_shorter_px) : json(nullptr)},
          {"crop_height_px", p.crop_height_px},
          {"crop_width_px", p.crop_width_px},
          {"interpolation", std::string(to_string(p.interpolation))},
          {"channels", std::string(to_string(p.channels))},
          {"scale", p.scale},
          {"mean", p.mean},
          {"std", p.std}};
}

std::array<double, 3> three_numbers(const json& j, const char* field) {
  const auto numbers = j.at(field).get<std::vector<double>>();
  if (numbers.size() != 3)
    throw Error(ErrorCode::kConfig,
                std::string(field) + ": expected 3 numbers, found " + std::to_string(numbers.size()));
  return {numbers[0], numbers[1], numbers[2]};
}

Preprocessing preprocessing_from(const json& j) {
  Preprocessing p;
  const auto& resize = j.at("resize_shorter_px");
  p.resize_shorter_px = resize.is_null() ? std::nullopt : std::optional<int>(resize.get<int>());
  p.crop_height_px = j.at("crop_height_px").get<int>();
  p.crop_width_px = j.at("crop_width_px").get<int>();
  p.interpolation = parse_interpolation(j.at("interpolation").get<std::string>());
  p.channels = parse_channel_order(j.at("channels").get<std::string>());
  p.scale = j.at("scale").get<double>();
  p.mean = three_numbers(j, "mean");
  p.std = three_numbers(j, "std");
  p.validate();
  return p;
}

json to_json(const TokenizerOptions& o) {
  return {{"type", "wordpiece"},
          {"lower_case", o.lower_case},
          {"strip_accents", o.strip_accents ? json(*o.strip_accents) : json(nullptr)},
          {"split_cjk", o.split_cjk},
          {"max_length", o.max_length},
          {"max_word_length", o.max_word_length},
          {"special_tokens_in_text", o.special_tokens_in_text},
          {"unknown", o.unknown},
          {"first", o.first},
          {"last", o.last},
          {"padding", o.padding},
          {"mask", o.mask}};
}

TokenizerOptions tokenizer_options_from(const json& j) {
  if (const auto type = j.at("type").get<std::string>(); type != "wordpiece")
    throw Error(ErrorCode::kConfig, "tokenizer: expected the type wordpiece, found \"" + type + "\"");
  TokenizerOptions o;
  const auto& strip_accents = j.at("strip_accents");
  o.lower_case = j.at("lower_case").get<bool>();
  if (!strip_accents.is_null()) o.strip_accents = strip_accents.get<bool>();
  o.split_cjk = j.at("split_cjk").get<bool>();
  o.max_length = j.at("max_length").get<std::int64_t>();
  o.max_word_length = j.at("max_word_length").get<std::int64_t>();
  o.special_tokens_in_text = j.at("special_tokens_in_text").get<bool>();
  o.unknown = j.at("unknown").get<std::string>();
  o.first = j.at("first").get<std::string>();
  o.last = j.at("last").get<std::string>();
  o.padding = j.at("padding").get<std::string>();
  o.mask = j.at("mask").get<std::string>();
  return o;
}

std::string vocabulary_text(const Tokenizer& tokenizer) {
  std::string text;
  for (const auto& piece : tokenizer.vocabulary()) text += piece + "\n";
  return text;
}

/// Not inside what is done for a damaged file: a Graft without ICU is no fault of the file's.
Tokenizer tokenizer_from(std::string_view vocabulary, const TokenizerOptions& options) {
  if (vocabulary.ends_with('\n')) vocabulary.remove_suffix(1);
  return Tokenizer(base::split(vocabulary, '\n'), options);
}

Task task_from(const json& j) {
  Task task{.name = j.at("name").get<std::string>(),
            .kind = parse_task_kind(j.at("kind").get<std::string>()),
            .outputs = j.at("outputs").get<std::int64_t>(),
            .weight = j.at("weight").get<double>(),
            .loss = parse_regression_loss(j.at("loss").get<std::string>()),
            .calibration = {j.value("temperature", 1.0), optional_number(j.value("reject_below", json(nullptr)))}};
  if (task.outputs < 1 || task.outputs > 1'000'000'000 || !(task.weight > 0))
    throw Error(ErrorCode::kConfig, "tasks: expected outputs and a weight above 0");
  check_calibration(task.calibration, task.kind);
  return task;
}

Golden golden_from(const json& j, const std::string& pixels, bool is_text) {
  Golden golden;
  if (is_text) {
    golden.example = j.at("text").get<std::string>();
  } else {
    const auto* first = reinterpret_cast<const std::uint8_t*>(pixels.data());
    golden.example = Image(j.at("width_px").get<int>(), j.at("height_px").get<int>(), {first, first + pixels.size()});
  }
  golden.logits = j.at("logits").get<std::vector<float>>();
  golden.tolerance = j.at("tolerance").get<double>();
  if (golden.logits.empty() || !(golden.tolerance > 0 && golden.tolerance < 1))
    throw Error(ErrorCode::kConfig, "golden: expected logits and a tolerance between 0 and 1");
  return golden;
}

json to_json(const Int8& int8) {
  json ranges = json::array();
  for (const auto& range : int8.ranges) ranges.push_back(range ? json{range->low, range->high} : json(nullptr));
  const auto& c = int8.comparison;
  return {{"ranges", std::move(ranges)},
          {"logits", int8.logits},
          {"pictures", c.pictures},
          {"top1_agreement", optional_number(c.top1_agreement)},
          {"mean_difference", c.mean_difference},
          {"max_difference", c.max_difference},
          {"float32_accuracy", optional_number(c.float32_accuracy)},
          {"int8_accuracy", optional_number(c.int8_accuracy)}};
}

Int8 int8_from(const json& j) {
  Int8 int8;
  for (const auto& range : j.at("ranges")) {
    int8.ranges.emplace_back();
    if (range.is_null()) continue;
    int8.ranges.back() = {range.at(0).get<float>(), range.at(1).get<float>()};
    if (!(int8.ranges.back()->low <= int8.ranges.back()->high))
      throw Error(ErrorCode::kConfig, "int8: expected ranges from a lower to a higher number");
  }
  int8.logits = j.at("logits").get<std::vector<float>>();
  auto& c = int8.comparison;
  c.pictures = j.at("pictures").get<std::int64_t>();
  c.top1_agreement = optional_number(j.at("top1_agreement"));
  c.mean_difference = j.at("mean_difference").get<double>();
  c.max_difference = j.at("max_difference").get<double>();
  c.float32_accuracy = optional_number(j.at("float32_accuracy"));
  c.int8_accuracy = optional_number(j.at("int8_accuracy"));
  return int8;
}

}  // namespace

std::string preprocessing_json(const Preprocessing& preprocessing) { return to_json(preprocessing).dump(); }

std::string tokenizer_json(const Tokenizer& tokenizer) {
  auto j = to_json(tokenizer.options());
  j["vocabulary_sha256"] = base::Sha256().update(vocabulary_text(tokenizer)).hex();
  return j.dump();
}

graph::ExtraFiles wanted_records() { return {{kArtefactRecord, ""}, {kGoldenRecord, ""}, {kVocabularyRecord, ""}}; }

graph::ExtraFiles write_artefact(const Artefact& artefact) {
  graph::ExtraFiles records;
  json j{{"schema", kSchemaOfImages}};
  if (artefact.input)
    std::visit(
        base::Overloaded{[&](const Preprocessing& preprocessing) { j["preprocessing"] = to_json(preprocessing); },
                         [&](const Tokenizer& tokenizer) {
                           j["schema"] = kSchema;
                           j["tokenizer"] = to_json(tokenizer.options());
                           records[kVocabularyRecord] = vocabulary_text(tokenizer);
                         }},
        *artefact.input);
  j["tasks"] = json::array();
  for (const auto& task : artefact.tasks)
    j["tasks"].push_back({{"name", task.name},
                          {"kind", std::string(to_string(task.kind))},
                          {"outputs", task.outputs},
                          {"weight", task.weight},
                          {"loss", std::string(to_string(task.loss))},
                          {"temperature", task.calibration.temperature},
                          {"reject_below", optional_number(task.calibration.reject_below)}});
  if (artefact.labels) {
    j["labels"] = json::array();
    for (const auto& label : *artefact.labels) j["labels"].push_back({{"id", label.id}, {"name", label.name}});
  }
  if (!artefact.head.empty()) j["head"] = {{"layer", artefact.head}, {"kind", artefact.head_kind}};
  j["frozen"] = artefact.frozen;
  j["batch_norm"] = std::string(to_string(artefact.batch_norm));
  if (!artefact.sha256.empty()) j["sha256"] = artefact.sha256;
  if (artefact.golden) {
    const auto& [example, logits, tolerance] = *artefact.golden;
    auto& golden = j["golden"] = {{"logits", logits}, {"tolerance", tolerance}};
    std::visit(base::Overloaded{[&](const Image& picture) {
                                  golden["width_px"] = picture.width_px();
                                  golden["height_px"] = picture.height_px();
                                  records[kGoldenRecord].assign(reinterpret_cast<const char*>(picture.rgb().data()),
                                                                picture.rgb().size());
                                },
                                [&](const std::string& text) { golden["text"] = text; }},
               example);
  }
  if (artefact.int8) j["int8"] = to_json(*artefact.int8);
  try {
    records[kArtefactRecord] = j.dump(1, ' ');
  } catch (const json::type_error&) {
    throw Error(ErrorCode::kFormat, "expected names in UTF-8, found other bytes");
  }
  return records;
}

Artefact read_artefact(const graph::ExtraFiles& records) {
  const std::string& text = records.at(kArtefactRecord);
  if (text.empty()) return {};
  Artefact artefact;
  std::optional<TokenizerOptions> tokenizer;
  try {
    const json j = json::parse(text);
    if (const auto schema = j.at("schema").get<int>(); schema > kSchema)
      throw Error(ErrorCode::kFormat,
                  "schema " + std::to_string(schema) + " is newer than this library's " + std::to_string(kSchema));
    if (j.contains("preprocessing")) artefact.input = preprocessing_from(j["preprocessing"]);
    if (j.contains("tokenizer")) tokenizer = tokenizer_options_from(j["tokenizer"]);
    if (j.contains("tasks"))
      for (const auto& task : j["tasks"]) artefact.tasks.push_back(task_from(task));
    if (j.contains("labels")) {
      artefact.labels.emplace();
      for (const auto& label : j["labels"])
        artefact.labels->push_back({label.at("id").get<std::string>(), label.at("name").get<std::string>()});
    }
    if (j.contains("head")) {
      artefact.head = j["head"].at("layer").get<std::string>();
      artefact.head_kind = j["head"].at("kind").get<std::string>();
    }
    artefact.frozen = j.value("frozen", std::vector<std::string>());
    artefact.sha256 = j.value("sha256", std::string());
    if (j.contains("golden") && (artefact.input || tokenizer))
      artefact.golden = golden_from(j["golden"], records.at(kGoldenRecord), tokenizer.has_value());
    if (j.contains("int8") && artefact.golden) artefact.int8 = int8_from(j["int8"]);
    artefact.batch_norm = parse_batch_norm(j.value("batch_norm", std::string("follow")));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // nlohmann's types, and Error from the values' own checks
    throw Error(ErrorCode::kFormat, std::string("its record ") + kArtefactRecord + " is damaged: " + error.what());
  }
  if (tokenizer) {
    const auto vocabulary = records.find(kVocabularyRecord);
    artefact.input = tokenizer_from(
        vocabulary == records.end() ? std::string_view() : std::string_view(vocabulary->second), *tokenizer);
  }
  return artefact;
}

}  // namespace graft::model
