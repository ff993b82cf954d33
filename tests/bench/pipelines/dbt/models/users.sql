select i as id, 'user' || i as name, i % 7 as bucket, md5(i::varchar) as token from range(400000) t(i)
