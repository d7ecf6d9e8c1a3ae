// The graft program: transfer learning from the command line, by the public headers alone.

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>

#include "cli/common.h"
#include "cli/config.h"
#include "cli/interrupt.h"

namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2, kShellOffset = 128;

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace graft::cli;
  std::signal(SIGPIPE, SIG_IGN);  // a closed standard output is an error like any other

  Common common;
  CLI::App app{
      "Transfer learning for image classifiers: classify, fine-tune, evaluate, quantize, embed, export, augment and "
      "inspect."};
  app.name("graft");
  app.footer(
      "Example: graft finetune resnet50.pt --train data/train --val data/val --head linear --out mine.pt\n"
      "Results go to standard output, progress and warnings to standard error.\n"
      "Exit status: 0 done, 2 bad usage, 130 or 143 interrupted, 1 any other error.");
  app.set_version_flag("--version", GRAFT_VERSION);
  app.require_subcommand(1);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);

  std::vector<std::pair<CLI::App*, Command>> commands;
  const auto add = [&](const char* name, const char* what, Command (*make)(CLI::App&)) {
    CLI::App* command = app.add_subcommand(name, what);
    command->add_option("--device", common.device, "auto, cpu or cuda[:INDEX]")->capture_default_str();
    command->add_option("--threads", common.threads, "threads for the network and for decoding; 0: all cores")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
    command->add_flag("--json", common.json, "one JSON document on standard output");
    command->add_flag("--quiet", common.quiet, "no progress, no warnings");
    commands.emplace_back(command, make(*command));
  };
  add("classify", "name what is in pictures", add_classify);
  add("finetune", "put a new head on a model and train it on a folder of pictures", add_finetune);
  add("lr-find", "find the learning rate to begin with", add_lr_find);
  add("sweep", "compare which layers to fine-tune, heads and learning rates", add_sweep);
  add("evaluate", "measure a model on a folder of labelled pictures", add_evaluate);
  add("quantize", "calibrate a model for int8 and compare it with float32", add_quantize);
  add("embed", "write feature vectors of pictures to a .npy file", add_embed);
  add("export", "write a model as an inference server wants it", add_export);
  add("augment", "draw a sheet of pictures as training will see them", add_augment);
  add("inspect", "show layers, shapes, preprocessing and labels of a model", add_inspect);

  try {
    auto arguments = with_config(app, {argv + 1, argv + argc});
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    app.parse(std::move(arguments));
    if (common.threads > 0) at::set_num_threads(common.threads);
    for (const auto& [command, run] : commands)
      if (command->parsed()) run(common);
    return kDone;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kDone : kUsage;
  } catch (const Interrupted& interrupted) {
    return kShellOffset + interrupted.signal;
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "graft: %s: %s\n", std::string(graft::to_string(error.code())).c_str(),
                 one_line(error.what()).c_str());
    return error.code() == graft::ErrorCode::kConfig ? kUsage : kFailed;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "graft: internal: %s\n", one_line(error.what()).c_str());
    return kFailed;
  }
}
