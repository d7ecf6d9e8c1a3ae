#include <cstdio>
#include <map>
#include <optional>

#include "cli/bulk.h"
#include "cli/common.h"
#include "cli/domain.h"
#include "cli/json.h"
#include "cli/numbers.h"
#include "cli/outputs.h"
#include "cli/parquet.h"
#include "cli/pictures.h"
#include "cli/processes.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  DomainFlags domain;
  std::vector<std::string> paths;
  std::int64_t top_k = 5;
  std::int64_t batch = 32;
  bool reduced_decoding = false;
  std::string precision = "float32", task;
  std::string on_bad_image = "fail";
  BulkOptions bulk;
};

std::string line(const std::string& file, const std::vector<Prediction>& top) {
  std::string text = file + (top.front().rejected ? ": no answer, not sure enough of\n" : "\n");
  for (const auto& p : top) {
    char figures[32];
    std::snprintf(figures, sizeof figures, "  %6.2f %%  ", 100.0 * p.probability);
    text += figures + p.label + (p.id == p.label ? "" : " (" + p.id + ")") + "\n";
  }
  return text;
}

nlohmann::json entry(const std::string& file, const std::vector<Prediction>& top) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& p : top)
    list.push_back({{"id", p.id}, {"label", p.label}, {"index", p.index}, {"probability", p.probability}});
  return {{"file", file}, {"top", std::move(list)}, {"rejected", top.front().rejected}};
}

AnswerRow answer_row(const std::string& file, const std::vector<Prediction>& top) {
  AnswerRow row{.file = file, .rejected = top.front().rejected};
  for (const auto& p : top) row.top.push_back({p.id, p.label, static_cast<std::int32_t>(p.index), p.probability});
  return row;
}

/// A line of JSON for each picture or text, or a row of a Parquet file.
void run_bulk(const Options& o, const ClassifyOptions& options, const Model& model, const Dataset& data,
              std::optional<ParquetWriter> parquet, const Common& common) {
  auto bulk = o.bulk;
  bulk.batch = o.batch;
  bulk.about = about_answers(model, o.reduced_decoding);
  bulk.about.insert({{"command", "classify"},
                     {"top-k", std::to_string(o.top_k)},
                     {"precision", o.precision},
                     {"task", o.task},
                     {"on-bad-image", o.on_bad_image}});
  if (parquet) parquet->describe(bulk.about);
  std::map<std::size_t, std::vector<Prediction>> answers;
  const auto take = [&](const Batch& batch, const std::vector<std::size_t>& which) {
    auto results = model.classify(batch.images, options);
    for (std::size_t i = 0; i < results.size(); ++i) answers[which[i]] = std::move(results[i]);
  };
  const auto write = [&](const Part& part) {
    std::string lines;
    std::vector<AnswerRow> rows;
    for (const auto example : part.examples) {
      const auto file = data.name(example);
      const auto answer = answers.extract(example);
      if (parquet) {
        rows.push_back(answer ? answer_row(file, answer.mapped())
                              : AnswerRow{.file = file, .error = part.unreadable.at(example)});
      } else {
        const auto json = answer ? entry(file, answer.mapped())
                                 : nlohmann::json{{"file", file}, {"error", part.unreadable.at(example)}};
        lines += compact(json) + "\n";
      }
    }
    parquet ? parquet->write_answers(part.path, rows) : write_atomically(part.path, lines);
  };
  const auto done = answer_in_bulk(bulk, data, model, {take, write}, common);
  if (common.json && is_first(common)) print_json(done);
}

void run(const Options& o, const Common& common) {
  const ClassifyOptions options{.top_k = o.top_k, .precision = parse_precision(o.precision), .task = o.task};
  if (common.processes && o.bulk.folder.empty())
    throw Error(ErrorCode::kConfig, "several processes: expected --out FOLDER for their answers, found none");
  check_folder_name(o.bulk.folder);
  std::optional<ParquetWriter> parquet;
  if (wants_parquet(o.bulk, !o.bulk.folder.empty())) parquet.emplace();
  const Model model = load_model(o.model, common);
  const auto data = open_unlabelled(o.paths, o.domain, o.on_bad_image, o.reduced_decoding, model);
  if (!o.bulk.folder.empty()) return run_bulk(o, options, model, *data, std::move(parquet), common);

  nlohmann::json predictions = nlohmann::json::array();
  Progress progress(common);
  std::int64_t done = 0;
  const auto start = std::chrono::steady_clock::now();
  DataLoader loader(*data, model.input(), loader_options(model, o.batch, common));
  while (const auto batch = loader.next()) {
    const auto results = model.classify(batch->images, options);
    for (std::size_t i = 0; i < results.size(); ++i) {
      const std::string file = data->name(batch->indices[i]);
      if (common.json) {
        predictions.push_back(entry(file, results[i]));
      } else {
        print(line(file, results[i]));
      }
    }
    done += batch->size();
    if (std::ssize(batch->indices) < std::ssize(o.paths) || data->size() > 32)
      progress.update("classify", done, static_cast<std::int64_t>(data->size()), "");
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double rate = static_cast<double>(done) / seconds;
  for (const auto& bad : loader.bad_images()) note(common, "left out: " + bad.message);
  if (common.json) {
    print_json({{"predictions", std::move(predictions)},
                {"images_per_second", rate},
                {"bad_images", bad_images_json(loader.bad_images())}});
  }
  char text[80];
  const bool texts = takes_text(model.input());
  std::snprintf(text, sizeof text, "%lld %s, %.1f %s/s", static_cast<long long>(done), texts ? "texts" : "pictures",
                rate, texts ? "texts" : "images");
  progress.finish(text);
}

}  // namespace

Command add_classify(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  add_pictures_or_texts(app, o->paths);
  add_domain(app, o->domain);
  app.add_option("--top-k", o->top_k, "how many guesses for each picture")
      ->check(at_least_one())
      ->capture_default_str();
  app.add_option("--task", o->task, "which one, where the model has several");
  app.add_option("--batch", o->batch, "pictures for one forward pass")->check(at_least_one())->capture_default_str();
  add_reduced_decoding(app, o->reduced_decoding);
  add_precision(app, o->precision);
  add_on_bad_image(app, o->on_bad_image);
  app.add_option(
      "--out", o->bulk.folder,
      "folder for the answers, a line of JSON or a row each, in files that a later run completes; by several processes "
      "under mpirun");
  add_bulk_options(app, o->bulk, "jsonl");
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
