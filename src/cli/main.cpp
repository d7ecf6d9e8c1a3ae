// The graft program: transfer learning from the command line, by the public headers alone.

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>

#include "cli/common.h"
#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/outputs.h"
#include "cli/processes.h"
#include "cli/usage.h"

namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2, kShellOffset = 128;

struct CommandEntry {
  const char* name;
  const char* what;
  const char* examples;
  graft::cli::Command (*make)(CLI::App&);
};

using namespace graft::cli;
constexpr CommandEntry kCommands[] = {
    {"classify", "name what is in pictures, or what texts are about",
     "  graft classify resnet50.pt elephant.jpg\n"
     "  graft classify mine.pt photos/ --top-k 1 --json > answers.json\n"
     "  graft classify topics.pt lines.txt\n"
     "  mpirun -np 4 graft classify mine.pt photos/ --out answers",
     add_classify},
    {"finetune", "put a new head on a model and train it on a folder of pictures, or on texts",
     "  graft finetune resnet50.pt --train data/train --val data/val --out mine.pt\n"
     "      a linear head on the frozen network; data/train has a folder of pictures for each class\n"
     "  graft finetune resnet50.pt --train data/train --val data/val --out mine.pt --recipe fine-tune --epochs 5 --lr "
     "2e-3\n"
     "      the head for an epoch, then all of it\n"
     "  graft finetune vgg16.pt --train data/train --val data/val --out mine.pt --head mlp:1024 --augment "
     "shear=0.2,zoom=0.2,hflip\n"
     "  graft finetune minilm.pt --domain text --train train.csv --val val.csv --out topics.pt --epochs 20 --lr 1e-2\n"
     "  graft finetune resnet50.pt --config run.json --checkpoint-dir run --resume\n"
     "  graft finetune resnet50.pt --train data/train --val data/val --out mine.pt --report mine.html --log mine.csv",
     add_finetune},
    {"doctor", "look for what is wrong with data, model and training, and say what to change",
     "  graft doctor resnet50.pt --train data/train --val data/val\n"
     "  graft doctor resnet50.pt --train data/train --val data/val --freeze none --bn inference --lr 1e-5 --epochs 1",
     add_doctor},
    {"lr-find", "find the learning rate to begin with",
     "  graft lr-find resnet50.pt --train data/train --val data/val\n"
     "  graft lr-find resnet50.pt --train data/train --val data/val --report rates.html",
     add_lr_find},
    {"sweep", "compare which layers to fine-tune, heads and learning rates",
     "  graft sweep resnet50.pt --train data/train --val data/val --freeze-points all,stages:3,stages:2,none --out "
     "sweep\n"
     "  graft sweep resnet50.pt --train data/train --val data/val --freeze-points all --heads linear/mlp:256 "
     "--learning-rates 1e-4,1e-3,1e-2 --report sweep.html",
     add_sweep},
    {"evaluate", "measure a model on labelled pictures or texts",
     "  graft evaluate mine.pt --data data/val --top-losses 5\n"
     "  graft evaluate mine.pt --data data/val --report measured.html\n"
     "  graft evaluate mine.pt --data data/val --tta hflip --predictions predictions.csv",
     add_evaluate},
    {"calibrate", "make a model's probabilities mean what they say, and choose what it rejects",
     "  graft calibrate mine.pt --data data/val --out calibrated.pt --target-accuracy 0.99", add_calibrate},
    {"compare", "tell whether one of two models is better on labelled pictures",
     "  graft compare mine.pt other.pt --data data/val", add_compare},
    {"quantize", "calibrate a model for int8 and compare it with float32",
     "  graft quantize mine.pt --calibration data/train --out mine.int8.pt", add_quantize},
    {"embed", "write feature vectors of pictures or texts to a .npy file",
     "  graft embed mine.pt photos/ --out features.npy", add_embed},
    {"explain", "draw over pictures what a model's answers rest on",
     "  graft explain mine.pt photos/ --out heat\n"
     "  graft explain resnet50.pt elephant.jpg --out heat --class n02504458 --layer layer3\n"
     "  graft explain mine.pt photo.jpg --out heat --method occlusion --patch 24",
     add_explain},
    {"neighbors", "find the pictures of a folder that are most like another",
     "  graft neighbors mine.pt photo.jpg --among photos/ --top-k 3", add_neighbors},
    {"project", "draw a map of pictures by what a model sees in them",
     "  graft project mine.pt data/val --out map.svg\n  graft project mine.pt data/val --out map.csv --method pca",
     add_project},
    {"export", "write a model as an inference server wants it",
     "  graft export mine.pt --triton repository --name mine", add_export},
    {"augment", "draw a sheet of pictures as training will see them",
     "  graft augment data/train --out sheet.png --augment crop,hflip,trivial", add_augment},
    {"report", "make a page of a run's report, or compare several runs",
     "  graft finetune resnet50.pt --train data/train --val data/val --out a.pt --report a.html\n"
     "  graft report a.json b.json --out compared.html\n"
     "      two runs whose --report was a.html and b.html",
     add_report},
    {"inspect", "show layers, shapes, preprocessing and labels of a model",
     "  graft inspect mine.pt\n  graft inspect mine.pt --plan", add_inspect},
    {"completion", "print a completion script for a shell",
     "  source <(graft completion bash)\n"
     "  graft completion zsh > \"${fpath[1]}/_graft\"\n"
     "  graft completion fish > ~/.config/fish/completions/graft.fish",
     add_completion},
    {"manual", "print the manual page", "  graft manual > graft.1 && man ./graft.1", add_manual},
};

/// What several processes can do together.
bool is_parallel(std::string_view command) {
  return command == "classify" || command == "embed" || command == "finetune";
}

/// What --help and --version print.
std::string text_for(const CLI::App& app, const CLI::Success& asked) {
  std::ostringstream text;
  app.exit(asked, text, text);
  return text.str();
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed standard output is an error like any other

  Common common;
  CLI::App app{
      "Transfer learning for networks that take pictures or texts: classify, fine-tune, evaluate, calibrate, compare, "
      "explain, quantize, "
      "embed, export, augment, report and inspect."};
  app.name("graft");
  app.footer(
      "Example: graft finetune resnet50.pt --train data/train --val data/val --head linear --out mine.pt\n"
      "graft help COMMAND, or graft COMMAND --help, lists a command's options.\n"
      "Results go to standard output, progress and warnings to standard error.\n"
      "Exit status: 0 done, 2 bad usage, 130 or 143 interrupted, 1 any other error.");
  app.set_version_flag("--version", GRAFT_VERSION);
  app.require_subcommand(1);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);

  std::vector<std::pair<CLI::App*, Command>> commands;
  for (const auto& [name, what, examples, make] : kCommands) {
    CLI::App* command = app.add_subcommand(name, what);
    command->footer(*examples ? std::string("Examples:\n") + examples : std::string());
    command->add_option("--device", common.device, "auto, cpu or cuda[:INDEX]")->capture_default_str();
    command->add_option("--threads", common.threads, "threads for the network and for decoding; 0: all cores")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
    command->add_flag("--json", common.json, "one JSON document on standard output");
    command->add_flag("--quiet", common.quiet, "no progress, no warnings");
    commands.emplace_back(command, make(*command));
  }

  std::optional<Processes> processes;
  const auto failed = [&](int status, const std::string& message) {
    if (processes && processes->world()) processes->fail(message, status);
    std::fprintf(stderr, "graft: %s\n", message.c_str());
    return status;
  };
  try {
    auto arguments = with_config(app, with_help(app, {argv + 1, argv + argc}));
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    try {
      app.parse(std::move(arguments));
    } catch (const CLI::Success& asked) {
      print(text_for(app, asked));
      return kDone;
    }
    for (const auto& [command, run] : commands) {
      if (!command->parsed()) continue;
      processes.emplace();
      processes->share(common);
      if (common.processes && !is_parallel(command->get_name()))
        throw graft::Error(graft::ErrorCode::kConfig, command->get_name() + ": expected one process, found " +
                                                          std::to_string(common.processes->size()) +
                                                          "; start it without mpirun or srun");
      check_outputs(*command);
      if (common.threads > 0) at::set_num_threads(common.threads);
      run(common);
    }
    return kDone;
  } catch (const CLI::ParseError& error) {
    return failed(kUsage, std::string(to_string(graft::ErrorCode::kConfig)) + ": " + usage_message(app, error));
  } catch (const Interrupted& interrupted) {
    return kShellOffset + interrupted.signal;
  } catch (const graft::Error& error) {
    return failed(error.code() == graft::ErrorCode::kConfig ? kUsage : kFailed,
                  std::string(graft::to_string(error.code())) + ": " + one_line(error.what()));
  } catch (const std::exception& error) {
    return failed(kFailed, "internal: " + one_line(error.what()));
  }
}
