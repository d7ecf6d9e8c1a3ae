#include <map>
#include <optional>
#include <string_view>

#include <ATen/ops/stack.h>

#include "cli/bulk.h"
#include "cli/common.h"
#include "cli/domain.h"
#include "cli/json.h"
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
  std::string out, on_bad_image = "fail";
  EmbedOptions embed;
  BulkOptions bulk;
};

/// Rows in part-N.npy, what they are of in part-N.npy.txt, which is there before; or both in part-N.parquet. Pictures
/// that cannot be read are in neither.
void run_bulk(const Options& o, const Model& model, const Dataset& data, std::optional<ParquetWriter> parquet,
              const Common& common) {
  for (std::size_t i = 0; !parquet && i < data.size(); ++i)
    if (const auto name = data.name(i); name.find('\n') != std::string::npos)
      throw Error(ErrorCode::kFormat, "expected names without line ends for the lists beside parts, found \"" + name +
                                          "\"; --format parquet takes any name");
  auto bulk = o.bulk;
  bulk.folder = o.out;
  bulk.batch = o.embed.batch;
  bulk.about = about_answers(model, o.embed.reduced_decoding);
  bulk.about.insert({{"command", "embed"}, {"layer", o.embed.layer}, {"on-bad-image", o.on_bad_image}});
  if (parquet) parquet->describe(bulk.about);
  std::map<std::size_t, at::Tensor> rows;
  const auto take = [&](const Batch& batch, const std::vector<std::size_t>& which) {
    const auto features = model.embed(batch.images, o.embed.layer);
    for (std::size_t i = 0; i < which.size(); ++i) rows[which[i]] = features.select(0, static_cast<std::int64_t>(i));
  };
  const auto write = [&](const Part& part) {
    std::vector<at::Tensor> all;
    std::vector<std::string> names;
    for (const auto example : part.examples) {
      const auto row = rows.extract(example);
      if (!row) continue;
      all.push_back(row.mapped());
      names.push_back(data.name(example));
    }
    if (all.empty())
      throw Error(ErrorCode::kMismatch, part.path.string() + ": none of its " + std::to_string(part.examples.size()) +
                                            " pictures can be read; the first: " + part.unreadable.begin()->second);
    if (parquet) return parquet->write_features(part.path, names, at::stack(all));
    std::string lines;
    for (const auto& name : names) lines += name + "\n";
    write_atomically(part.path.string() + ".txt", lines);
    write_npy(part.path, at::stack(all));
  };
  const auto done = answer_in_bulk(bulk, data, model, {take, write}, common);
  if (common.json && is_first(common)) print_json(done);
}

void run(const Options& o, const Common& common) {
  const bool bulk = !std::string_view(o.out).ends_with(".npy");
  if (bulk) check_folder_name(o.out, " or a file that ends in .npy");
  if (common.processes && !bulk)
    throw Error(ErrorCode::kConfig, "several processes: expected a folder for --out, found a .npy file: " + o.out);
  std::optional<ParquetWriter> parquet;
  if (wants_parquet(o.bulk, bulk)) parquet.emplace();
  if (!bulk) check_writable(o.out);
  const Model model = load_model(o.model, common);
  const auto data = open_unlabelled(o.paths, o.domain, o.on_bad_image, o.embed.reduced_decoding, model);
  if (bulk) return run_bulk(o, model, *data, std::move(parquet), common);
  Progress progress(common);
  const auto [all, pictures, bad_images] = embed(model, *data, o.embed, common, progress);
  write_npy(o.out, all);
  const std::string shape = "[" + std::to_string(all.size(0)) + ", " + std::to_string(all.size(1)) + "]";
  progress.finish("wrote " + o.out + ": float32 " + shape);
  if (common.json)
    print_json({{"shape", {all.size(0), all.size(1)}},
                {"dtype", "float32"},
                {"out", o.out},
                {"bad_images", bad_images_json(bad_images)}});
}

}  // namespace

Command add_embed(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  add_pictures_or_texts(app, o->paths);
  add_domain(app, o->domain);
  app.add_option("--out", o->out,
                 "file ending in .npy, one row for each picture or text that can be read; or a folder for parts of it, "
                 "that a later run completes, by several processes under mpirun")
      ->required();
  add_embed_options(app, o->embed);
  add_on_bad_image(app, o->on_bad_image);
  add_bulk_options(app, o->bulk, "npy");
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
