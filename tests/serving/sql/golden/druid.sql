-- all columns
SELECT input."id" AS "__0", input."city" AS "__1", input."age" AS "__2", input."score" AS "__3", input."amount" AS "__4", input."active" AS "__5", input."born" AS "__6", input."__time" AS "__7", input."seen" AS "__8", input."raw" AS "__9", input."tags" AS "__10", input."more" AS "__11" FROM "users" AS input LIMIT 5
-- []

-- every comparison
SELECT input."id" AS "__0" FROM "users" AS input WHERE input."age" = ? AND input."age" <> ? AND input."age" < ? AND input."age" <= ? AND input."age" > ? AND input."age" >= ? AND input."age" < input."score" LIMIT 5
-- [{"type": "BIGINT", "value": 1}, {"type": "BIGINT", "value": 2}, {"type": "BIGINT", "value": 3}, {"type": "BIGINT", "value": 4}, {"type": "BIGINT", "value": 5}, {"type": "BIGINT", "value": 6}]

-- every kind of value
SELECT input."id" AS "__0" FROM "users" AS input WHERE input."city" = ? OR input."score" > ? OR input."amount" >= ? OR input."active" = ? OR input."born" < ? OR input."__time" >= MILLIS_TO_TIMESTAMP(? / 1000) OR input."seen" <= ? LIMIT 5
-- [{"type": "VARCHAR", "value": "it's"}, {"type": "DOUBLE", "value": 0.5}, {"type": "DOUBLE", "value": 12.5}, {"type": "BIGINT", "value": 1}, {"type": "VARCHAR", "value": "2000-01-31"}, {"type": "BIGINT", "value": 1767225600000000}, {"type": "BIGINT", "value": 1767268800000000}]

-- lists and ranges
SELECT input."id" AS "__0" FROM "users" AS input WHERE input."city" IN (?, ?) AND NOT input."age" IN (?, ?, ?) AND (input."age" >= ? AND input."age" <= ?) AND (input."score" < ? OR input."score" > ?) LIMIT 5
-- [{"type": "VARCHAR", "value": "oslo"}, {"type": "VARCHAR", "value": "bergen"}, {"type": "BIGINT", "value": 1}, {"type": "BIGINT", "value": 2}, {"type": "BIGINT", "value": 3}, {"type": "BIGINT", "value": 18}, {"type": "BIGINT", "value": 65}, {"type": "DOUBLE", "value": 0.0}, {"type": "DOUBLE", "value": 1.0}]

-- patterns and nulls
SELECT input."id" AS "__0" FROM "users" AS input WHERE input."city" LIKE ? ESCAPE '\' OR NOT input."city" LIKE ? ESCAPE '\' OR input."city" LIKE ? ESCAPE '\' OR input."city" IS NULL OR NOT input."age" IS NULL LIMIT 5
-- [{"type": "VARCHAR", "value": "o_l%"}, {"type": "VARCHAR", "value": "100\\%"}, {"type": "VARCHAR", "value": "50\\%\\_\\\\%"}]

-- not moves inwards
SELECT input."id" AS "__0" FROM "users" AS input WHERE input."age" >= ? OR (input."city" <> ? AND input."city" IN (?)) LIMIT 5
-- [{"type": "BIGINT", "value": 3}, {"type": "VARCHAR", "value": "a"}, {"type": "VARCHAR", "value": "b"}]

-- groups
SELECT input."city" AS "__0", COUNT(*) AS "__1", COUNT(input."age") AS "__2", COUNT(DISTINCT input."age") AS "__3", SUM(input."amount") AS "__4", TIME_FORMAT(MIN(TIME_PARSE(input."born")), 'yyyy-MM-dd') AS "__5", MAX(input."__time") AS "__6", AVG(CAST(input."age" AS DOUBLE)) AS "__7" FROM "users" AS input WHERE input."active" = ? GROUP BY input."city" HAVING COUNT(*) > ? AND input."city" <> ? ORDER BY "__1" DESC, "__0" ASC LIMIT 10
-- [{"type": "BIGINT", "value": 1}, {"type": "BIGINT", "value": 10}, {"type": "VARCHAR", "value": "oslo"}]

-- sketches
SELECT APPROX_COUNT_DISTINCT_DS_HLL(input."id") AS "__0", APPROX_QUANTILE_DS(input."score", 0.99) AS "__1" FROM "users" AS input LIMIT 10001
-- []

-- tags
SELECT COUNT(*) AS "__0" FROM "users" AS input WHERE ARRAY_OVERLAP(input."tags", ARRAY[?, ?]) AND ARRAY_CONTAINS(input."tags", ARRAY[?]) AND NOT ARRAY_OVERLAP(input."tags", ARRAY[?, ?]) LIMIT 10001
-- [{"type": "VARCHAR", "value": "a"}, {"type": "VARCHAR", "value": "b"}, {"type": "VARCHAR", "value": "c"}, {"type": "VARCHAR", "value": "d"}, {"type": "VARCHAR", "value": "e"}]

-- first page
SELECT input."city" AS "__0", input."age" AS "__1", COUNT(*) AS "__2" FROM "users" AS input GROUP BY input."city", input."age" ORDER BY input."age" DESC, input."city" ASC LIMIT 3
-- []

-- page behind a row
SELECT input."city" AS "__0", input."age" AS "__1", COUNT(*) AS "__2" FROM "users" AS input WHERE input."age" < ? OR input."age" IS NULL OR (input."age" = ? AND (input."city" > ? OR input."city" = ?)) GROUP BY input."city", input."age" ORDER BY input."age" DESC, input."city" ASC LIMIT 4
-- [{"type": "BIGINT", "value": 41}, {"type": "BIGINT", "value": 41}, {"type": "VARCHAR", "value": "oslo"}, {"type": "VARCHAR", "value": "oslo"}]

-- page behind a null
SELECT input."city" AS "__0", input."age" AS "__1", COUNT(*) AS "__2" FROM "users" AS input WHERE input."age" IS NULL AND (input."city" > ? OR input."city" = ?) GROUP BY input."city", input."age" ORDER BY input."age" DESC, input."city" ASC LIMIT 3
-- [{"type": "VARCHAR", "value": "oslo"}, {"type": "VARCHAR", "value": "oslo"}]

-- page of groups
SELECT input."__0" AS "__0", input."__1" AS "__1" FROM (SELECT COUNT(*) AS "__0", input."city" AS "__1" FROM "users" AS input GROUP BY input."city") AS input WHERE input."__0" < ? OR input."__0" IS NULL OR (input."__0" = ? AND (input."__1" > ? OR input."__1" = ?)) ORDER BY input."__0" DESC, input."__1" ASC LIMIT 3
-- [{"type": "BIGINT", "value": 7}, {"type": "BIGINT", "value": 7}, {"type": "VARCHAR", "value": "oslo"}, {"type": "VARCHAR", "value": "oslo"}]
