/// The frame of a page, and what its sections share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/chart.h"
#include "report/fields.h"
#include "report/markup.h"

namespace graft::report {

struct Section {
  std::string id, title;
  Html body;
};

/// A whole document. Sections without a body are left out.
std::string page(const std::string& title, const std::string& kind, const std::vector<Section>& sections);

struct Cell {
  Html content;
  std::optional<double> value = {};  ///< what a number is sorted by
  std::string look = {};             ///< classes of style
};

/// A number's cell: "-" where it is none.
Cell number_cell(double value, Unit unit);
Cell count_cell(double value);
Cell text_cell(const std::string& content);

struct Column {
  std::string title;
  bool number = false;
};

struct Row {
  std::vector<Cell> cells;  ///< the first is the row's heading
  bool marked = false;
};

struct Table {
  std::string caption = {};
  std::vector<Column> columns = {};
  std::vector<Row> rows = {};
  bool sortable = false;
};

/// In a box of its own that scrolls sideways where it must.
Html table(const Table& table);

/// A figure in large type.
struct Tile {
  std::string name, figure, detail;
};
Html tiles(const std::vector<Tile>& tiles);

/// "65 s" as "1 min 5 s".
std::string duration(double seconds);

/// A report's epochs as a chart's line.
Series epoch_series(const Json& epochs, const char* key, const std::string& name, std::size_t style);

/// The pages of one document and of several. Each throws Error kFormat.
std::string run_page(const Json& document);
struct NamedRun {
  std::string name;
  Json document;
};
/// With a title of its own and a section before the others; without a title "Comparison of N runs".
std::string comparison_page(const std::vector<NamedRun>& runs, const std::string& title = {},
                            const Section& first = {});

}  // namespace graft::report
