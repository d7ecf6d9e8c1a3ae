/// Transfer learning for C++: load a pretrained network for pictures or texts, cut its head off, graft a new one on,
/// train it, run it.
#pragma once

#include <graft/augment.h>
#include <graft/batch_finder.h>
#include <graft/calibration.h>
#include <graft/cancellation.h>
#include <graft/communicator.h>
#include <graft/compare.h>
#include <graft/dataset.h>
#include <graft/deploy.h>
#include <graft/device.h>
#include <graft/doctor.h>
#include <graft/embeddings.h>
#include <graft/error.h>
#include <graft/evaluation.h>
#include <graft/explain.h>
#include <graft/files.h>
#include <graft/finding.h>
#include <graft/head.h>
#include <graft/history.h>
#include <graft/html_report.h>
#include <graft/image.h>
#include <graft/input.h>
#include <graft/inspect.h>
#include <graft/loader.h>
#include <graft/lr_finder.h>
#include <graft/model.h>
#include <graft/optimizer.h>
#include <graft/preprocess.h>
#include <graft/quantize.h>
#include <graft/recipe.h>
#include <graft/report.h>
#include <graft/schedule.h>
#include <graft/script_head.h>
#include <graft/search_report.h>
#include <graft/sweep.h>
#include <graft/task.h>
#include <graft/tensorboard.h>
#include <graft/text_dataset.h>
#include <graft/tokenizer.h>
#include <graft/trainer.h>
#include <graft/trainer_options.h>
#include <graft/version.h>

/// Everything of the library.
namespace graft {}

/// \namespace graft::heads
/// Recipes for new heads.
