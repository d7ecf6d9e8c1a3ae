// Transfer learning for another domain: a linear head on a frozen sentence encoder, trained on labelled texts. Then
// what it makes of texts that it has not seen, and which of the training texts are nearest to them.
//
//   text_classification minilm.pt train.csv test.csv topics.pt [EPOCHS]
//
// The encoder is what models/export_text_torchscript.py writes; the tables have the columns text and label.
#include <cstdio>
#include <string>
#include <vector>

#include <ATen/ops/mm.h>

#include <graft/graft.h>

namespace {

std::vector<std::string> first_texts(const graft::Dataset& data, std::size_t count) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < data.size() && i < count; ++i) texts.push_back(data.text(i));
  return texts;
}

/// Embeddings are of length 1: the largest product is the nearest text.
void print_nearest(const graft::Model& model, const std::vector<std::string>& asked,
                   const std::vector<std::string>& among) {
  const auto nearest = at::mm(model.embed(asked), model.embed(among).t()).argmax(1);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const auto index = nearest[static_cast<std::int64_t>(i)].item<std::int64_t>();
    std::printf("  %-50.50s ~ %.60s\n", asked[i].c_str(), among[static_cast<std::size_t>(index)].c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: text_classification ENCODER TRAIN.csv TEST.csv OUT [EPOCHS]\n");
    return 2;
  }
  try {
    const graft::TextDataset train(argv[2]);
    const graft::TextDataset test(argv[3], {.classes = train.classes()});

    auto model = graft::Model::load(argv[1], {.device = graft::Device::parse("auto")});
    model.replace_head(graft::heads::linear({.classes = std::ssize(train.classes())}));
    model.freeze();  // the encoder: what it yields for a text is computed once and kept

    graft::Trainer trainer(model, {.optimizer = graft::Adam{.learning_rate = 1e-2}});
    const auto history = trainer.fit(train, {.epochs = argc > 5 ? std::stoi(argv[5]) : 20, .batch_size = 32});
    std::printf("%s%s", graft::to_text(history).c_str(), graft::to_text(trainer.evaluate(test)).c_str());

    const auto texts = first_texts(test, 5);
    const auto answers = model.classify(texts, {.top_k = 1});
    for (std::size_t i = 0; i < texts.size(); ++i)
      std::printf("  %-50.50s %-12s %5.1f %%\n", texts[i].c_str(), answers[i][0].label.c_str(),
                  100 * static_cast<double>(answers[i][0].probability));
    print_nearest(model, texts, first_texts(train, 1000));

    model.save(argv[4]);  // with its vocabulary: graft classify topics.pt lines.txt
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "text_classification: %s\n", error.what());
    return 1;
  }
}
