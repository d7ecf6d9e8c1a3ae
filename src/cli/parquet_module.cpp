// Tables as Parquet files, by Apache Arrow: the module that the program loads for --format parquet.

#include "cli/parquet_module.h"

#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/util/compression.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

namespace graft::cli {

namespace {

void check(const arrow::Status& status) {
  if (status.IsOutOfMemory()) throw std::bad_alloc();
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

template <class T>
T checked(arrow::Result<T> result) {
  check(result.status());
  return result.MoveValueUnsafe();
}

/// Not Arrow's own allocator, which would keep what it got beside LibTorch's.
arrow::MemoryPool* pool() { return arrow::system_memory_pool(); }

std::shared_ptr<arrow::Array> finish(arrow::ArrayBuilder& builder) {
  std::shared_ptr<arrow::Array> array;
  check(builder.Finish(&array));
  return array;
}

arrow::Compression::type compression() {
  for (const auto codec : {arrow::Compression::ZSTD, arrow::Compression::SNAPPY})
    if (arrow::util::Codec::IsAvailable(codec)) return codec;
  return arrow::Compression::UNCOMPRESSED;
}

std::string file(const arrow::FieldVector& fields, const arrow::ArrayVector& columns, const ParquetMetadata& metadata,
                 std::initializer_list<std::string> plain_columns) {
  std::vector<std::string> keys, values;
  for (const auto& [key, value] : metadata) {
    keys.push_back(key);
    values.push_back(value);
  }
  const auto schema = arrow::schema(fields, arrow::key_value_metadata(std::move(keys), std::move(values)));
  const auto table = arrow::Table::Make(schema, columns);
  parquet::WriterProperties::Builder properties;
  properties.memory_pool(pool())->compression(compression());
  for (const auto& column : plain_columns) properties.disable_dictionary(column);  // hardly a value comes twice
  // With Arrow's schema in the file, readers that know it give the same types back.
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  const auto out = checked(arrow::io::BufferOutputStream::Create(4096, pool()));
  check(parquet::arrow::WriteTable(*table, pool(), out, table->num_rows(), properties.build(), arrow_properties));
  return checked(out->Finish())->ToString();
}

std::string answers(std::span<const AnswerRow> rows, const ParquetMetadata& metadata) {
  const auto guess = arrow::struct_(
      {arrow::field("id", arrow::utf8(), false), arrow::field("index", arrow::int32(), false),
       arrow::field("label", arrow::utf8(), false), arrow::field("probability", arrow::float32(), false)});
  const auto id = std::make_shared<arrow::StringBuilder>(pool()),
             label = std::make_shared<arrow::StringBuilder>(pool());
  const auto index = std::make_shared<arrow::Int32Builder>(pool());
  const auto probability = std::make_shared<arrow::FloatBuilder>(pool());
  const auto guesses = std::make_shared<arrow::StructBuilder>(
      guess, pool(), std::vector<std::shared_ptr<arrow::ArrayBuilder>>{id, index, label, probability});
  arrow::ListBuilder top(pool(), guesses, arrow::list(arrow::field("element", guess, false)));
  arrow::StringBuilder files(pool()), error(pool());
  arrow::BooleanBuilder rejected(pool());
  for (const auto& row : rows) {
    check(files.Append(row.file));
    if (row.error) {
      check(top.AppendNull());
      check(rejected.AppendNull());
      check(error.Append(*row.error));
      continue;
    }
    check(top.Append());
    for (const auto& one : row.top) {
      check(guesses->Append());
      check(id->Append(one.id));
      check(index->Append(one.index));
      check(label->Append(one.label));
      check(probability->Append(one.probability));
    }
    check(rejected.Append(row.rejected));
    check(error.AppendNull());
  }
  return file({arrow::field("file", arrow::utf8(), false), arrow::field("top", top.type()),
               arrow::field("rejected", arrow::boolean()), arrow::field("error", arrow::utf8())},
              {finish(files), finish(top), finish(rejected), finish(error)}, metadata,
              {"file", "top.list.element.probability"});
}

std::string features(std::span<const std::string> names, std::span<const float> values,
                     const ParquetMetadata& metadata) {
  if (names.empty()) throw std::runtime_error("features of nothing");
  const auto width = static_cast<std::int32_t>(values.size() / names.size());
  arrow::StringBuilder files(pool());
  for (const auto& name : names) check(files.Append(name));
  const auto numbers = std::make_shared<arrow::FloatBuilder>(pool());
  arrow::FixedSizeListBuilder rows(pool(), numbers,
                                   arrow::fixed_size_list(arrow::field("element", arrow::float32(), false), width));
  check(rows.AppendValues(static_cast<std::int64_t>(names.size())));
  check(numbers->AppendValues(values.data(), static_cast<std::int64_t>(values.size())));
  return file({arrow::field("file", arrow::utf8(), false), arrow::field("embedding", rows.type(), false)},
              {finish(files), finish(rows)}, metadata, {"file", "embedding.list.element"});
}

constexpr ParquetModule kModule{GRAFT_VERSION_TEXT, answers, features};

}  // namespace

}  // namespace graft::cli

extern "C" __attribute__((visibility("default"))) const graft::cli::ParquetModule* graft_parquet_module() {
  return &graft::cli::kModule;
}
