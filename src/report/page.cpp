#include "report/page.h"

#include <cmath>
#include <utility>

#include "base/base64.h"
#include "base/sha256.h"
#include "report/page/assets.h"

namespace graft::report {

namespace {

/// How a Content-Security-Policy names a style or a script that may be used.
std::string policy_source(std::string_view content) {
  return "'sha256-" + base::base64(base::Sha256().update(content).digest()) + "'";
}

/// Nothing but this style and this script, and pictures that are in the file.
std::string security_policy() {
  return "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src " +
         policy_source(kPageStyle) + "; script-src " + policy_source(kPageScript);
}

Html navigation(const std::vector<Section>& sections) {
  Html items;
  for (const auto& section : sections)
    if (!section.body.empty())
      items += "<li><a href=\"#"_html + text(section.id) + "\">"_html + text(section.title) + "</a></li>"_html;
  return "<nav aria-label=\"Sections\"><ul>"_html + items + "</ul></nav>"_html;
}

Html look(const std::string& classes) {
  return classes.empty() ? Html() : " class=\""_html + text(classes) + "\""_html;
}

Html cell(const Cell& cell, const Column& column, bool heading) {
  const std::string classes = (column.number ? "number" : "name") + (cell.look.empty() ? "" : " " + cell.look);
  const Html sort = cell.value && std::isfinite(*cell.value)
                        ? " data-sort=\""_html + text(decimal(*cell.value, 9)) + "\""_html
                        : Html();
  return heading ? "<th scope=\"row\""_html + look(classes) + sort + ">"_html + cell.content + "</th>"_html
                 : "<td"_html + look(classes) + sort + ">"_html + cell.content + "</td>"_html;
}

}  // namespace

std::string page(const std::string& title, const std::string& kind, const std::vector<Section>& sections) {
  Html content;
  for (const auto& section : sections)
    if (!section.body.empty())
      content += "<section aria-labelledby=\""_html + text(section.id) + "\">\n<h2 id=\""_html + text(section.id) +
                 "\">"_html + text(section.title) + "</h2>\n"_html + section.body + "\n</section>\n"_html;
  const Html head =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\""_html +
      text(security_policy()) +
      "\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>"_html +
      text(title) + "</title>\n<style>"_html;
  const Html body =
      "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#content\">Skip to content</a>\n<header>\n<p><span class=\"brand\">Graft</span> "_html +
      text(kind) + "</p>\n<h1>"_html + text(title) + "</h1>\n</header>\n"_html + navigation(sections) +
      "\n<main id=\"content\">\n"_html + content +
      "</main>\n<footer>All of this page is in this one file; it fetches nothing.</footer>\n<script>"_html;
  return head.markup() + std::string(kPageStyle) + body.markup() + std::string(kPageScript) +
         "</script>\n</body>\n</html>\n";
}

Cell number_cell(double value, Unit unit) { return {text(in_unit(value, unit)), value}; }

Cell count_cell(double value) { return {text(decimal(value, 0)), value}; }

Cell text_cell(const std::string& content) { return {text(content)}; }

Html table(const Table& table) {
  Html head, body;
  for (const auto& column : table.columns)
    head += "<th scope=\"col\""_html + look(column.number ? "number" : "name") + ">"_html + text(column.title) +
            "</th>"_html;
  for (const auto& row : table.rows) {
    body += "<tr"_html + look(row.marked ? "marked" : "") + ">"_html;
    for (std::size_t i = 0; i < row.cells.size(); ++i) body += cell(row.cells[i], table.columns[i], i == 0);
    body += "</tr>\n"_html;
  }
  return "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\""_html + text(table.caption) +
         "\"><table"_html + look(table.sortable ? "wide sortable" : "wide") + "><caption>"_html + text(table.caption) +
         "</caption><thead><tr>"_html + head + "</tr></thead><tbody>\n"_html + body + "</tbody></table></div>"_html;
}

Html tiles(const std::vector<Tile>& tiles) {
  Html items;
  for (const auto& tile : tiles)
    items += "<div><dt>"_html + text(tile.name) + "</dt><dd><div class=\"figure\">"_html + text(tile.figure) +
             "</div><div class=\"detail\">"_html + text(tile.detail) + "</div></dd></div>"_html;
  return items.empty() ? Html() : "<dl class=\"tiles\">"_html + items + "</dl>"_html;
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds < 10) return decimal(seconds, 1) + "\xC2\xA0s";
  const auto whole = std::llround(seconds);
  if (whole < 60) return std::to_string(whole) + "\xC2\xA0s";
  if (whole < 3600) return std::to_string(whole / 60) + "\xC2\xA0min " + std::to_string(whole % 60) + "\xC2\xA0s";
  return std::to_string(whole / 3600) + "\xC2\xA0h " + std::to_string(whole % 3600 / 60) + "\xC2\xA0min";
}

Series epoch_series(const Json& epochs, const char* key, const std::string& name, std::size_t style) {
  return {name, column(epochs, key), style};
}

}  // namespace graft::report
